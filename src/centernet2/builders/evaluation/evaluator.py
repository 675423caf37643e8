"""Evaluate a detector on a data set, or detections from a file."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from centernet2 import distributed
from centernet2.builders.data.class_matching import MatchedData, match_detector
from centernet2.builders.data.data_pipeline import build_test_transform
from centernet2.builders.data.evaluation_data import choose_datasets, find_validation_data
from centernet2.builders.detector.loading import config_of, load_for_inference
from centernet2.builders.detector.network import build_augmented
from centernet2.builders.detector.tensor_detector import TensorDetector
from centernet2.builders.evaluation.stored_results import (
    FoundDetections,
    holds_results,
    read_detections,
)
from centernet2.checkpoint.checkpoint import digest_of
from centernet2.config import Config, ConfigError
from centernet2.data import DetectionDataset, LoadedImage, eval_batches
from centernet2.devices import create_accelerator
from centernet2.evaluation import (
    IMAGES_SKIPPED,
    PROPOSAL_COUNTS,
    Interrupted,
    ResultStream,
    Scored,
    SkippedImage,
    require_replaceable_detections,
    score_detector,
    score_results,
)
from centernet2.files import write_json
from centernet2.images.resize import EvalTransform, FitShortestEdge
from centernet2.models.detector import Detector
from centernet2.models.inspect import inspect
from centernet2.models.tta import TestTimeAugmentation
from centernet2.predict.exported_detector import ExportedDetector
from centernet2.predict.predictor import Predictor
from centernet2.report.evaluation_page import report_evaluation
from centernet2.structures import Batch, StrPath
from centernet2.threads import ThreadsByLoad

logger = logging.getLogger(__name__)

NOTES_FILE = "notes.json"
MAX_NAMED_SKIPPED = 20  # skipped images that the log names; skipped.json has all
MAX_DETECTIONS_OF_A_FILE = 100  # per image, as in COCO's metrics
WHOLE = FitShortestEdge(length=0, max_size=0)  # of detectors that resize images themselves


def evaluate_detector(
    model: Detector,
    config: Config,
    *,
    data: StrPath | None = None,
    data_path: StrPath | None = None,
    output_dir: StrPath | None = None,
    resume: bool = False,
    report: StrPath | None = None,
    class_map: Sequence[str] | None = None,
    known_classes_only: bool = False,
) -> dict[str, float]:
    """Evaluate a detector on the validation split of a data set; see `jobs.evaluate`."""
    if "WORLD_SIZE" in os.environ and not distributed.is_distributed():  # started by torchrun
        create_accelerator(next(model.parameters()).device)
    if resume and output_dir is None:
        raise ConfigError(
            "--resume continues in the folder of an interrupted evaluation; give --output-dir"
        )
    dataset = find_validation_data(
        data, data_path, config.datasets, masks=config.model.mask_on, class_map=class_map,
        unannotated=output_dir is not None,
    )  # fmt: skip
    matched = match_detector(model, dataset, known_only=known_classes_only)
    folder = output_dir or report
    if folder is not None:
        require_replaceable_detections(Path(folder), dataset)
    scored = score_matched(
        model,
        matched,
        config,
        None if folder is None else Path(folder),
        standalone=True,
        resume=resume,
        inspected=report is not None,
    )
    if report is not None and distributed.is_main_process():
        title = f"{config.name} on {dataset.name}"
        report_evaluation(Path(report), title=title, dataset=matched.dataset, scored=scored)
    return scored.metrics


def detector_of(model: object) -> Detector:
    """Return a detector as it is, or that of a predictor; else raise ValueError."""
    inner = model.model if isinstance(model, Predictor) else model
    inner = inner.model if isinstance(inner, TestTimeAugmentation) else inner
    if not isinstance(inner, Detector):
        raise ValueError(
            f"a {type(model).__name__} cannot be evaluated; give a Detector, a Predictor, the path "
            "of a checkpoint or zoo:NAME"
        )
    return inner


def evaluate_predictions(
    predictions: StrPath,
    *,
    data: StrPath | None = None,
    data_path: StrPath | None = None,
    config: Config | None = None,
    output_dir: StrPath | None = None,
    report: StrPath | None = None,
    class_map: Sequence[str] | None = None,
) -> dict[str, float]:
    """Evaluate a COCO results file, or a folder with one per data set."""
    find = partial(
        find_validation_data, data, data_path, choose_datasets(config), class_map=class_map
    )
    dataset, path = find(masks=False), Path(predictions)
    found = read_detections(path, dataset)
    if found.masks is not None:
        dataset = find(masks=True)
    output = None if output_dir is None else Path(output_dir)
    scored = score_results(
        dataset,
        found.results,
        found.masks,
        max_detections=MAX_DETECTIONS_OF_A_FILE,
        output_dir=output,
        skipped=found.skipped,
    )._replace(stages=found.stages)
    say_notes(scored.notes, output)
    if found.masks is None:
        logger.info("%s has no masks: the metrics are those of boxes", path)
    if report is not None:
        title = f"{path.name} on {dataset.name}"
        report_evaluation(Path(report), title=title, dataset=dataset, scored=scored)
    return scored.metrics


def say_notes(notes: Sequence[str], output: Path | None) -> None:
    """Log notes on the metrics, and keep them beside the metrics in notes.json."""
    for note in notes:
        logger.warning("%s", note)
    if output is not None:
        (output / NOTES_FILE).unlink(missing_ok=True)  # of an earlier evaluation
        if notes:
            write_json(output / NOTES_FILE, list(notes), indent=1)


def evaluate_dataset(
    model: Detector,
    dataset: DetectionDataset,
    config: Config,
    output: Path | None,
    *,
    interrupted: Interrupted = lambda: False,
) -> dict[str, float]:
    """Evaluate a detector on a data set, with all processes, and return the metrics.

    Args:
        model: the detector; every process has it.
        dataset: images with annotations; the model's classes are matched to its own by name.
        config: options for test size, batch size and augmentation.
        output: folder for detections and metrics.
        interrupted: checked after each batch; if True, EvaluationInterrupted is raised.
    """
    matched = match_detector(model, dataset)
    return score_matched(model, matched, config, output, interrupted=interrupted).metrics


def score_matched(
    model: Detector,
    matched: MatchedData,
    config: Config,
    output: Path | None,
    *,
    standalone: bool = False,
    resume: bool = False,
    inspected: bool = False,
    unknown: bool = False,
    interrupted: Interrupted = lambda: False,
) -> Scored:
    """Evaluate a detector on a data set that is matched to it, and write speed.json.

    Args:
        standalone: no part of training: it can be resumed, and its threads follow the load.
        resume: continue the interrupted evaluation in `output`.
        inspected: also write the scores of each stage.
        unknown: among them, what tells objects of none of the classes.
    """
    started = time.perf_counter()
    dataset, augmented = matched.dataset, config.test_augmentation.enabled
    inspected = inspected and model.roi_heads is not None and not augmented
    stream = None
    if output is not None:
        hashed = partial(_fingerprint, model, matched, config, inspected) if standalone else None
        stream = ResultStream(output, fingerprint=hashed, resume=resume)
    done: frozenset[int] = frozenset() if stream is None else stream.done
    if done:
        logger.info("%d of %d images are already done", len(done), len(dataset))
    skipped: dict[int, SkippedImage] = {}
    batches = _read_batches(
        dataset,
        config,
        WHOLE if augmented else build_test_transform(config),
        size_divisibility=model.preprocess.size_divisibility,
        skip=done,
        on_failure=partial(_skip, dataset, skipped),
    )
    look = partial(inspect, model, num_proposals=max(PROPOSAL_COUNTS), unknown=unknown)
    scored = score_detector(
        build_augmented(config, model) if augmented else model,
        dataset,
        ThreadsByLoad(is_on=standalone).adapt_between(batches),
        max_detections=max_detections_of(model, config),
        output_dir=output,
        label_map=matched.label_map,
        stream=stream,
        inspect=look if inspected else None,
        interrupted=interrupted,
        skipped=skipped,
    )
    scored = scored._replace(notes=[*matched.notes, *scored.notes])
    with distributed.failing_together():
        if distributed.is_main_process():
            say_notes(scored.notes, output)
        if output is not None and distributed.is_main_process():
            images = len(dataset) - len(done) - int(scored.metrics.get(IMAGES_SKIPPED, 0))
            _write_speed(output / "speed.json", images, time.perf_counter() - started)
    return scored


def _write_speed(path: Path, images: int, seconds: float) -> None:
    speed = {"images": images, "seconds": seconds, "images_per_second": images / seconds}
    write_json(path, speed)


def score_exported(
    model: ExportedDetector, matched: MatchedData, config: Config, *, max_detections: int
) -> Scored:
    """Evaluate a detector in an exported file on a data set that is matched to it.

    Args:
        max_detections: per image, see `max_detections_of`.
    """
    dataset, skipped = matched.dataset, dict[int, SkippedImage]()
    return score_detector(
        TensorDetector(model),
        dataset,
        _read_batches(dataset, config, WHOLE, on_failure=partial(_skip, dataset, skipped)),
        max_detections=max_detections,
        output_dir=None,
        label_map=matched.label_map,
        skipped=skipped,
    )


def _skip(dataset: DetectionDataset, skipped: dict[int, SkippedImage], loaded: LoadedImage) -> None:
    """Note an image that cannot be used, and name it in the log unless they are many."""
    index, reason = loaded.image_index, loaded.failures[0]
    skipped[index] = SkippedImage(loaded.image_id, dataset.file_name(index), reason)
    if len(skipped) <= MAX_NAMED_SKIPPED:
        logger.warning("%s (the image is skipped)", reason)


def _read_batches(
    dataset: DetectionDataset,
    config: Config,
    transform: EvalTransform,
    *,
    size_divisibility: int = 1,
    skip: Collection[int] = (),
    on_failure: Callable[[LoadedImage], None],
) -> Iterator[Batch]:
    """Yield batches of the images of this process."""
    return eval_batches(
        dataset,
        transform,
        batch_size=config.run.test_batch_size,
        num_workers=config.loader.num_workers,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        size_divisibility=size_divisibility,
        skip=skip,
        on_failure=on_failure,
    )


def max_detections_of(model: Detector, config: Config) -> int:
    """Return how many detections a detector gives for an image at most."""
    if model.roi_heads is None:
        return config.decoder.inference.post_nms_topk
    return config.selection.detections_per_image


def _fingerprint(model: Detector, matched: MatchedData, config: Config, inspected: bool) -> str:
    """Hash all that determines the detections: not batch size, not number of workers."""
    options = config.replace({"TEST.IMS_PER_BATCH": 1, "DATALOADER.NUM_WORKERS": 0}).to_yaml()
    dataset = matched.dataset
    images = hashlib.sha256()
    for column in (dataset.files, dataset.image_ids, dataset.heights, dataset.widths):
        images.update(np.ascontiguousarray(column).tobytes())
    names = json.dumps([dataset.name, dataset.class_names, model.info.class_names])
    weights = digest_of(dict([*model.named_parameters(), *model.named_buffers()]))
    others = (str(inspected), str(model.info.calibration))
    texts = (weights, options, names, images.hexdigest(), *others)
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def load_results(
    source: StrPath, dataset: DetectionDataset, *, device: str | None
) -> FoundDetections | Scored:
    """Load detections from an output folder or a results file, or run a checkpoint."""
    if holds_results(source):
        return read_detections(Path(source), dataset)
    model = load_for_inference(source, device=device)
    matched = match_detector(model, dataset, owner=str(source))
    return score_matched(model, matched, config_of(model.info), None, standalone=True)


def score_uncalibrated(
    weights: StrPath, dataset: DetectionDataset, *, device: str | None
) -> Scored:
    """Run a checkpoint without its calibration, if any, and record its stages."""
    model = load_for_inference(weights, device=device)
    if model.roi_heads is not None:
        model.roi_heads.selection.calibration = None
    matched = match_detector(model, dataset, owner=str(weights))
    return score_matched(
        model, matched, config_of(model.info), None, standalone=True, inspected=True, unknown=True
    )
