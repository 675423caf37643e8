"""Evaluate a detector on a data set, or detections from a file."""

import logging
import os
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

from centernet2 import distributed
from centernet2.builders.loading import StrPath, config_of, load_for_inference, require_num_classes
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
from centernet2.structures import Batch

logger = logging.getLogger(__name__)

DEFAULT_NAMES = ("coco_2017_val",)  # data set, if neither a folder nor a config names one
MAX_DETECTIONS_OF_A_FILE = 100  # per image, as in COCO's metrics


def evaluate_detector(
    model: Detector,
    config: Config,
    *,
    data: StrPath | None = None,
    data_path: StrPath | None = None,
    output_dir: StrPath | None = None,
    resume: bool = False,
    report: StrPath | None = None,
) -> dict[str, float]:
    """Evaluate a detector on the validation split of a data set; see `jobs.evaluate`."""
    if "WORLD_SIZE" in os.environ and not distributed.is_distributed():  # started by torchrun
        create_accelerator(next(model.parameters()).device)
    if resume and output_dir is None:
        raise ConfigError(
            "--resume continues in the folder of an interrupted evaluation; give --output-dir"
        )
    dataset = find_validation_data(
        data,
        data_path,
        names=config.datasets.test,
        masks=config.model.mask_on,
        val_fraction=config.datasets.val_fraction,
        val_seed=config.datasets.val_seed,
    )
    require_num_classes(config, len(dataset.class_names), owner=dataset.name)
    folder = output_dir or report
    output = None if folder is None else Path(folder)
    metrics = evaluate_dataset(
        model,
        dataset,
        config,
        output,
        resumable=True,
        resume=resume,
        inspected=report is not None,
    )
    if report is not None and output is not None and distributed.is_main_process():
        report_evaluation(
            Path(report),
            title=f"{config.name} on {dataset.name}",
            dataset=dataset,
            metrics=metrics,
            predictions=output / "predictions.json",
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
    # without masks: where needed, scoring reads them from the annotation file itself
    dataset = find_validation_data(data, data_path, names=names, masks=False)
    path = Path(predictions)
    metrics = score_results_file(
        dataset,
        path,
        max_detections=MAX_DETECTIONS_OF_A_FILE,
        output_dir=None if output_dir is None else Path(output_dir),
        voc=dataset.layout == "voc",
    )
    if report is not None:
        title = f"{path.name} on {dataset.name}"
        report_evaluation(
            Path(report), title=title, dataset=dataset, metrics=metrics, predictions=path
        )
    return metrics


def find_validation_data(
    data: StrPath | None,
    data_path: StrPath | None,
    *,
    names: Sequence[str],
    masks: bool,
    val_fraction: float = 0.0,
    val_seed: int = 0,
) -> DetectionDataset:
    """Load the validation split of a data set."""
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
    """Evaluate a detector on a data set, with all processes, and write speed.json.

    Args:
        model: the detector; every process has it.
        dataset: images with annotations.
        config: options for test size, batch size and augmentation.
        output: folder for detections and metrics.
        resumable: store a hash of all weights, so that an interrupted evaluation can be resumed.
        resume: continue the interrupted evaluation in `output`.
        inspected: also write the scores of each stage.
        interrupted: checked after each batch; if True, EvaluationInterrupted is raised.
    """
    started = time.perf_counter()
    augmented = config.test_augmentation.enabled
    inspected = inspected and model.roi_heads is not None and not augmented
    stream = None
    if output is not None:
        fingerprint = partial(_fingerprint, model, dataset, config, inspected)
        stream = ResultStream(output, fingerprint=fingerprint if resumable else None, resume=resume)
    done: frozenset[int] = frozenset() if stream is None else stream.done
    if done:
        logger.info("%d of %d images are already done", len(done), len(dataset))
    metrics = score_detector(
        build_augmented(config, model) if augmented else model,
        dataset,
        _read_batches(model, dataset, config, skip=done),
        max_detections=_max_detections(model, config),
        output_dir=output,
        stream=stream,
        inspect=partial(inspect, model, num_proposals=max(PROPOSAL_COUNTS)) if inspected else None,
        voc=dataset.layout == "voc",
        interrupted=interrupted,
    )
    if output is not None and distributed.is_main_process():
        seconds, images = time.perf_counter() - started, len(dataset) - len(done)
        speed = {"images": images, "seconds": seconds, "images_per_second": images / seconds}
        write_json(output / "speed.json", speed)
    return metrics


def _read_batches(
    model: Detector, dataset: DetectionDataset, config: Config, *, skip: Collection[int]
) -> Iterator[Batch]:
    """Yield batches of the images of this process."""
    transform = build_test_transform(config)
    if config.test_augmentation.enabled:  # which resizes images itself
        transform = FitShortestEdge(length=0, max_size=0)
    return eval_batches(
        dataset,
        transform,
        batch_size=config.run.test_batch_size,
        num_workers=config.loader.num_workers,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        size_divisibility=model.preprocess.size_divisibility,
        skip=skip,
    )


def _max_detections(model: Detector, config: Config) -> int:
    if model.roi_heads is None:
        return config.decoder.inference.post_nms_topk
    return config.selection.detections_per_image


def _fingerprint(
    model: Detector, dataset: DetectionDataset, config: Config, inspected: bool
) -> str:
    """Hash all that determines the detections: not batch size, not number of workers."""
    options = config.replace({"TEST.IMS_PER_BATCH": 1, "DATALOADER.NUM_WORKERS": 0}).to_yaml()
    return weights_digest(model, options, dataset.name, str(len(dataset)), str(inspected))


def load_results(source: StrPath, dataset: DetectionDataset, *, device: str | None) -> FloatArray:
    """Load detections from an output folder or a results file, or run a checkpoint."""
    path = Path(source)
    if path.is_dir():
        path = _find_predictions(path)
    if path.suffix == ".json":
        return read_results(path, dataset)
    model = load_for_inference(source, device=device)
    with tempfile.TemporaryDirectory() as folder:
        evaluate_dataset(model, dataset, config_of(model.info), Path(folder))
        return read_results(Path(folder) / "predictions.json", dataset)


def _find_predictions(folder: Path) -> Path:
    for path in (folder / "predictions.json", folder / "eval" / "predictions.json"):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{folder} has no predictions.json; give the output folder of an evaluation"
    )
