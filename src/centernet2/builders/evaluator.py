"""Evaluation of a detector, or of detections from a file, as a config says."""

import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from centernet2 import distributed
from centernet2.builders.loading import StrPath, config_of, load_model, set_num_classes
from centernet2.builders.network import build_augmented
from centernet2.builders.pipeline import build_test_transform
from centernet2.config import Config, ConfigError
from centernet2.data import DetectionDataset, FitShortestEdge, eval_batches
from centernet2.data.readers import load_dataset
from centernet2.devices import create_accelerator
from centernet2.evaluation import (
    PROPOSAL_COUNTS,
    FloatArray,
    Interrupted,
    ResultStream,
    read_results,
    score_detector,
    score_results_file,
    weights_digest,
)
from centernet2.files import write_json
from centernet2.models.detector import Detector
from centernet2.models.inspect import inspect
from centernet2.report.evaluation_page import report_evaluation
from centernet2.structures import ImageDetector, Inspection

logger = logging.getLogger(__name__)

DEFAULT_NAMES = (
    "coco_2017_val",
)  # of the data set, where neither a folder nor a configuration says another


def evaluate_detector(
    model: Detector,
    settings: Config,
    *,
    data: StrPath | None = None,
    data_path: StrPath | None = None,
    output_dir: StrPath | None = None,
    resume: bool = False,
    report: StrPath | None = None,
) -> dict[str, float]:
    """Evaluate a detector on the validation images of a data set; see `jobs.evaluate`."""
    if "WORLD_SIZE" in os.environ and not distributed.is_distributed():  # started by torchrun
        create_accelerator(next(model.parameters()).device)
    dataset = find_data(
        data,
        data_path,
        names=settings.datasets.test,
        masks=settings.model.mask_on,
        val_fraction=settings.datasets.val_fraction,
        val_seed=settings.datasets.val_seed,
    )
    set_num_classes(settings, len(dataset.class_names), owner=dataset.name)
    if resume and output_dir is None:
        raise ConfigError(
            "--resume goes on in the folder of an interrupted evaluation; name it with --output-dir"
        )
    folder = output_dir or report
    output = None if folder is None else Path(folder)
    metrics = evaluate_dataset(
        model,
        dataset,
        settings,
        output,
        resumable=True,
        resume=resume,
        inspected=report is not None,
    )
    if report is not None and output is not None and distributed.is_main_process():
        title = f"{settings.name} on {dataset.name}"
        predictions = output / "predictions.json"
        report_evaluation(
            Path(report), title=title, dataset=dataset, metrics=metrics, predictions=predictions
        )
    return metrics


def evaluate_predictions(
    predictions: StrPath,
    *,
    data: StrPath | None = None,
    data_path: StrPath | None = None,
    config: Config | None = None,
    output_dir: StrPath | None = None,
    report: StrPath | None = None,
) -> dict[str, float]:
    """Evaluate a COCO results file; no model is needed."""
    names = DEFAULT_NAMES if config is None else config.datasets.test
    dataset = find_data(
        data, data_path, names=names, masks=False
    )  # masks are read from the annotations themselves
    output = Path(output_dir) if output_dir is not None else None
    voc = dataset.layout == "voc"
    metrics = score_results_file(
        dataset, Path(predictions), max_detections=100, output_dir=output, voc=voc
    )
    if report is not None:
        title = f"{Path(predictions).name} on {dataset.name}"
        report_evaluation(
            Path(report),
            title=title,
            dataset=dataset,
            metrics=metrics,
            predictions=Path(predictions),
        )
    return metrics


def find_data(
    data: StrPath | None,
    data_path: StrPath | None,
    *,
    names: Sequence[str],
    masks: bool,
    val_fraction: float = 0.0,
    val_seed: int = 0,
) -> DetectionDataset:
    """The images to evaluate on."""
    return load_dataset(
        data=None if data is None else Path(data),
        data_path=None if data_path is None else Path(data_path),
        names=names,
        split="val",
        masks=masks,
        val_fraction=val_fraction,
        val_seed=val_seed,
    )


def evaluate_dataset(
    model: Detector,
    dataset: DetectionDataset,
    config: Config,
    output: Path | None,
    *,
    resumable: bool = False,
    resume: bool = False,
    inspected: bool = False,
    interrupted: Interrupted = lambda: False,
) -> dict[str, float]:
    """Evaluate a detector on one data set, shared among all processes, and write speed.json.

    Args:
        model, dataset, config: what is evaluated on what.
        output: folder for detections and metrics.
        resumable: write down which weights the detections are from, so that an interrupted
            evaluation can be resumed. It takes a hash of all weights.
        resume: go on with the interrupted evaluation in `output`.
        inspected: write the scores of each stage too.
        interrupted: if it says so, EvaluationInterrupted is raised.
    """
    started = time.perf_counter()
    inspected = inspected and model.roi_heads is not None and not config.test_augmentation.enabled
    stream = None
    if output is not None:
        fingerprint = partial(_fingerprint, model, dataset, config, inspected)
        stream = ResultStream(output, fingerprint=fingerprint if resumable else None, resume=resume)
        if stream.done:
            logger.info("%d of %d images are done already", len(stream.done), len(dataset))
    runner: ImageDetector = model
    transform = build_test_transform(config)
    if config.test_augmentation.enabled:
        runner, transform = (
            build_augmented(config, model),
            FitShortestEdge(length=0, max_size=0),
        )  # it resizes itself
    batches = eval_batches(
        dataset,
        transform,
        batch_size=config.run.test_batch_size,
        num_workers=config.loader.num_workers,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        size_divisibility=model.preprocess.size_divisibility,
        skip=stream.done if stream else (),
    )
    limit = (
        config.decoder.inference.post_nms_topk
        if model.roi_heads is None
        else config.selection.detections_per_image
    )
    look: Callable[[Sequence[Tensor]], list[Inspection]] = partial(
        inspect, model, num_proposals=max(PROPOSAL_COUNTS)
    )
    metrics = score_detector(
        runner,
        dataset,
        batches,
        max_detections=limit,
        output_dir=output,
        stream=stream,
        inspect=look if inspected else None,
        voc=dataset.layout == "voc",
        interrupted=interrupted,
    )
    if output is not None and distributed.is_main_process():
        seconds = time.perf_counter() - started
        images = len(dataset) - (len(stream.done) if stream else 0)
        speed = {"images": images, "seconds": seconds, "images_per_second": images / seconds}
        write_json(output / "speed.json", speed)
    return metrics


def _fingerprint(
    model: Detector, dataset: DetectionDataset, config: Config, inspected: bool
) -> str:
    """Identifies all that decides the detections of an image: not batches and workers."""
    settings = config.replace({"TEST.IMS_PER_BATCH": 1, "DATALOADER.NUM_WORKERS": 0}).to_yaml()
    return weights_digest(model, settings, dataset.name, str(len(dataset)), str(inspected))


def results_from(source: StrPath, dataset: DetectionDataset, *, device: str | None) -> FloatArray:
    """The detections of an evaluation, of a results file, or of a checkpoint (or zoo:NAME), which is run."""
    path = Path(source)
    if path.is_dir():
        existing = [
            each
            for each in (path / "predictions.json", path / "eval" / "predictions.json")
            if each.is_file()
        ]
        if not existing:
            raise FileNotFoundError(
                f"{path} holds no predictions.json; give the output folder of an evaluation"
            )
        path = existing[0]
    if path.suffix == ".json":
        return read_results(path, dataset)
    model = load_model(source, device=device)
    with tempfile.TemporaryDirectory() as folder:
        evaluate_dataset(model, dataset, config_of(model.info), Path(folder))
        return read_results(Path(folder) / "predictions.json", dataset)
