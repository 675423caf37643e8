"""Compute the metrics of a detector or of a results file, and write them."""

import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from centernet2.distributed import gather_objects, is_main_process
from centernet2.evaluation.coco_metrics import coco_metrics
from centernet2.evaluation.ground_truth import FloatArray, GroundTruth
from centernet2.evaluation.inference import EvalBatch, Inspect, Interrupted, detect_batches
from centernet2.evaluation.results import RunLengths, read_masks, read_results, write_results
from centernet2.evaluation.stream import ImageResult, ResultStream
from centernet2.evaluation.voc_metrics import voc_metrics
from centernet2.files import finite_or_none, write_json
from centernet2.structures import ImageDetector

logger = logging.getLogger(__name__)


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
    """
    with ExitStack() as stack:
        if stream is None:
            stream = ResultStream(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        try:
            detect_batches(model, dataset, batches, stream, inspect, interrupted)
            if any(gather_objects(interrupted())):
                raise EvaluationInterrupted
            images = stream.gather()
        except BaseException:
            stream.close(complete=False)
            raise
        metrics = {}
        if is_main_process():
            results, masks = _write_images(dataset, images, output_dir)
            metrics = _score(
                dataset,
                results,
                masks,
                max_detections=max_detections,
                output_dir=output_dir,
                voc=voc,
            )
        stream.close(complete=True)
    return gather_objects(metrics)[0]


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
) -> dict[str, float]:
    metrics = coco_metrics(dataset, results, max_detections=max_detections, masks=masks)
    if voc:
        metrics |= voc_metrics(dataset, results)
    if output_dir is not None:
        write_metrics(output_dir / "metrics.json", metrics)
    return metrics


def write_metrics(path: Path, metrics: Mapping[str, float]) -> None:
    """Write metrics as JSON, NaN as null; the file appears whole or not at all."""
    write_json(path, {name: finite_or_none(value) for name, value in metrics.items()}, indent=2)
