"""Compute the metrics of a detector or of a results file, and write them."""

import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from centernet2.distributed import failing_together, gather_objects, is_main_process
from centernet2.evaluation.coco_metrics import coco_metrics
from centernet2.evaluation.ground_truth import FloatArray, GroundTruth
from centernet2.evaluation.inference import EvalBatch, Inspect, Interrupted, detect_batches
from centernet2.evaluation.results import RunLengths, read_masks, read_results, write_results
from centernet2.evaluation.stream import ImageResult, ResultStream
from centernet2.evaluation.voc_metrics import voc_metrics
from centernet2.files import finite_or_none, write_json
from centernet2.structures import ImageDetector

logger = logging.getLogger(__name__)

IMAGES_SKIPPED = "images_skipped"  # metric: how many images could not be used, if any
SKIPPED_FILE = "skipped.json"  # names them, beside the detections of the others
MAX_SKIPPED = 0.5  # share of the images; if more cannot be used, there are no metrics


class SkippedImage(NamedTuple):
    """An image that could not be evaluated."""

    image_id: int | str  # in the files of the data set
    reason: str


class EvaluationInterrupted(Exception):
    """The evaluation was asked to end early; the detections so far stay on disk."""


def score_detector(
    model: ImageDetector,
    dataset: GroundTruth,
    batches: Iterable[EvalBatch],
    *,
    max_detections: int,
    output_dir: Path | None,
    stream: ResultStream | None = None,
    inspect: Inspect | None = None,
    voc: bool = False,
    interrupted: Interrupted = lambda: False,
    skipped: Mapping[int, SkippedImage] = MappingProxyType({}),
) -> dict[str, float]:
    """Run a detector on the batches of all processes and return its COCO metrics.

    Each process returns the metrics of all images.

    Args:
        model: gives the detections of a batch's images.
        dataset: the ground truth.
        batches: the images of this process.
        max_detections: that the model gives for an image.
        output_dir: receives predictions.json (COCO results on the original images) and
            metrics.json, and stages.json if the stages are inspected.
        stream: receives the detections while the model runs; it may hold images that are done.
            Default: a folder that is deleted.
        inspect: gives the detections in place of the model, with the output of its stages.
        voc: add the metrics of Pascal VOC.
        interrupted: asked before each batch; if it is true on one process, all of them raise
            EvaluationInterrupted.
        skipped: filled while the batches are read: images of this process that cannot be used, by
            index. Their objects are left out of the metrics, which count them as
            IMAGES_SKIPPED.

    Raises:
        ValueError: most of the images cannot be used.
    """
    with ExitStack() as stack:
        if stream is None:
            stream = ResultStream(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        try:
            with failing_together():
                detect_batches(model, dataset, batches, stream, inspect, interrupted)
            if any(gather_objects(interrupted())):
                raise EvaluationInterrupted
            images = stream.gather()
            all_skipped = _join_skipped(dataset, skipped)
        except BaseException:
            stream.close(complete=False)
            raise
        metrics = {}
        with failing_together():
            if is_main_process():
                scored = dataset
                if all_skipped:
                    scored = dataset.subset(
                        np.delete(np.arange(len(dataset.heights)), [*all_skipped])
                    )
                results, masks = _write_images(scored, images, output_dir)
                metrics = _score(
                    scored,
                    results,
                    masks,
                    max_detections=max_detections,
                    output_dir=output_dir,
                    voc=voc,
                    skipped=all_skipped,
                )
        stream.close(complete=True)
    return gather_objects(metrics)[0]


def _join_skipped(dataset: GroundTruth, own: Mapping[int, SkippedImage]) -> dict[int, SkippedImage]:
    """Join the images that the processes have skipped; raise ValueError if they are most of all."""
    skipped = {i: each for part in gather_objects(dict(own)) for i, each in part.items()}
    total = len(dataset.heights)
    if len(skipped) > MAX_SKIPPED * total:
        raise ValueError(
            f"{len(skipped)} of {total} images of the evaluation cannot be used, such as "
            f"{next(iter(skipped.values())).reason}"
        )
    if skipped and is_main_process():
        logger.warning(
            "%d of %d images are skipped; their objects are left out of the metrics",
            len(skipped),
            total,
        )
    return dict(sorted(skipped.items()))


def score_results_file(
    dataset: GroundTruth,
    predictions: Path,
    *,
    max_detections: int,
    output_dir: Path | None,
    voc: bool = False,
) -> dict[str, float]:
    """Compute the COCO metrics of a COCO results file."""
    results, masks = read_results(predictions, dataset), read_masks(predictions, dataset)
    return _score(
        dataset, results, masks, max_detections=max_detections, output_dir=output_dir, voc=voc
    )


def _write_images(
    dataset: GroundTruth, images: Mapping[int, ImageResult], output_dir: Path | None
) -> tuple[FloatArray, list[RunLengths] | None]:
    """Join the detections of all images, write them, and return them with their masks."""
    if len(images) < len(dataset.image_ids):
        logger.warning(
            "%d of %d images were evaluated; the objects of the others count as missed",
            len(images),
            len(dataset.image_ids),
        )
    results = np.concatenate([np.zeros((0, 7)), *(each.results for each in images.values())])
    masks: list[RunLengths] | None = [mask for each in images.values() for mask in each.masks or ()]
    if not images or any(each.masks is None for each in images.values()):
        masks = None
    if output_dir is not None:
        write_results(output_dir / "predictions.json", results, masks)
        stages = {
            str(image_id): each.stages
            for image_id, each in images.items()
            if each.stages is not None
        }
        (output_dir / "stages.json").unlink(missing_ok=True)  # of an earlier evaluation
        if stages:
            write_json(output_dir / "stages.json", stages)
    return results, masks


def _score(
    dataset: GroundTruth,
    results: FloatArray,
    masks: Sequence[RunLengths] | None,
    *,
    max_detections: int,
    output_dir: Path | None,
    voc: bool,
    skipped: Mapping[int, SkippedImage] = MappingProxyType({}),
) -> dict[str, float]:
    metrics = coco_metrics(dataset, results, max_detections=max_detections, masks=masks)
    if voc:
        metrics |= voc_metrics(dataset, results)
    if skipped:
        metrics[IMAGES_SKIPPED] = len(skipped)
    if output_dir is not None:
        write_metrics(output_dir / "metrics.json", metrics)
        (output_dir / SKIPPED_FILE).unlink(missing_ok=True)  # of an earlier evaluation
        if skipped:
            content = [each._asdict() for each in skipped.values()]
            write_json(output_dir / SKIPPED_FILE, content, indent=1)
    return metrics


def write_metrics(path: Path, metrics: Mapping[str, float]) -> None:
    """Write metrics as JSON, NaN as null; the file appears whole or not at all."""
    write_json(path, {name: finite_or_none(value) for name, value in metrics.items()}, indent=2)
