"""Compute the metrics of a detector or of results, and write them."""

import json
import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from centernet2.distributed import failing_together, gather_objects, is_main_process
from centernet2.evaluation.coco_metrics import coco_metrics
from centernet2.evaluation.detection_files import write_detections
from centernet2.evaluation.ground_truth import GroundTruth, without_images
from centernet2.evaluation.inference import EvalBatch, Inspect, Interrupted, detect_batches
from centernet2.evaluation.stream import ImageResult, ResultStream
from centernet2.evaluation.voc_metrics import voc_metrics
from centernet2.files import write_json
from centernet2.structures import FloatArray, ImageDetector, RunLengths

logger = logging.getLogger(__name__)

IMAGES_SKIPPED = "images_skipped"  # metric: how many images could not be used, if any
METRICS_FILE = "metrics.json"
SKIPPED_FILE = "skipped.json"  # names them, beside the detections of the others
MAX_SKIPPED = 0.5  # share of the images; if more cannot be used, there are no metrics


class SkippedImage(NamedTuple):
    """An image that could not be evaluated."""

    image_id: int | str  # in the files of the data set
    file_name: str  # below the folder of the images
    reason: str


def read_skipped(results_file: Path) -> list[SkippedImage]:
    """Read which images the evaluation has skipped that wrote a results file.

    Of joined data sets, the results file is in a folder below.
    """
    folder, above = results_file.parent, results_file.parent.parent
    if not (folder / SKIPPED_FILE).is_file() and not (folder / METRICS_FILE).is_file():
        folder = above
    try:
        content = json.loads((folder / SKIPPED_FILE).read_text(encoding="utf-8"))
        return [SkippedImage(**each) for each in content]
    except (OSError, ValueError, TypeError):  # there is none, or it is not ours
        return []


class EvaluationInterrupted(Exception):
    """The evaluation was asked to end early; the detections so far stay on disk."""


class Scored(NamedTuple):
    """Metrics and, on the main process, the detections of all images.

    The metrics are in percent. `notes` are sentences about what they do not say themselves.
    """

    metrics: dict[str, float]
    results: FloatArray  # [D, 7] in the order of the images
    stages: list[dict[str, Any]] | None  # the record of each image, in the same order
    notes: list[str]
    skipped: tuple[int, ...]  # positions of the images that the metrics leave out
    masks: Sequence[RunLengths] | None = None  # of the results


def score_detector(
    model: ImageDetector,
    dataset: GroundTruth,
    batches: Iterable[EvalBatch],
    *,
    max_detections: int,
    output_dir: Path | None,
    label_map: Tensor | None = None,
    stream: ResultStream | None = None,
    inspect: Inspect | None = None,
    interrupted: Interrupted = lambda: False,
    skipped: Mapping[int, SkippedImage] = MappingProxyType({}),
) -> Scored:
    """Run a detector on the batches of all processes and compute its COCO metrics.

    Each process returns the metrics of all images.

    Args:
        batches: the images of this process.
        max_detections: that the model gives for an image.
        output_dir: receives predictions.json (COCO results on the original images) and
            metrics.json, and stages.json if the stages are inspected. Of joined data sets, each has
            a folder below with its own detections.
        label_map: [C] int64, the detector's label -> label of the data set, or -1 for a class that
            the data lack; default: they are the same.
        stream: receives the detections while the model runs; it may hold images that are done.
            Default: a folder that is deleted.
        inspect: gives the detections in place of the model, with the output of its stages.
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
                detect_batches(
                    model, dataset, batches, stream, inspect, interrupted, label_map=label_map
                )
            if any(gather_objects(interrupted())):
                raise EvaluationInterrupted
            scored = Scored({}, np.zeros((0, 7)), None, [], ())
            images, all_skipped = stream.gather(), _join_skipped(dataset, skipped)
            with failing_together():
                if is_main_process():
                    scored = _score_images(dataset, images, max_detections, output_dir, all_skipped)
        except BaseException:
            stream.close(complete=False)
            raise
        stream.close(complete=True)
    return scored._replace(metrics=gather_objects(scored.metrics)[0])


def _score_images(
    dataset: GroundTruth,
    images: Mapping[int, ImageResult],
    max_detections: int,
    output_dir: Path | None,
    skipped: Mapping[int, SkippedImage],
) -> Scored:
    """Write the detections of all images and compute their metrics."""
    if len(images) + len(skipped) < len(dataset):
        logger.warning(
            "%d of %d images were evaluated; objects of the others count as missed",
            len(images), len(dataset),
        )  # fmt: skip
    if output_dir is not None:
        write_detections(output_dir, dataset, images)
    done = list(images.values())
    has_masks = bool(done) and all(each.masks is not None for each in done)
    return score_results(
        dataset,
        np.concatenate([np.zeros((0, 7)), *(each.results for each in done)]),
        [mask for each in done for mask in each.masks or ()] if has_masks else None,
        max_detections=max_detections,
        output_dir=output_dir,
        skipped=skipped,
    )._replace(stages=[each.stages for each in done if each.stages is not None] or None)


def _join_skipped(dataset: GroundTruth, own: Mapping[int, SkippedImage]) -> dict[int, SkippedImage]:
    """Join the images that processes have skipped; raise ValueError for too many."""
    skipped = {i: each for part in gather_objects(dict(own)) for i, each in part.items()}
    if len(skipped) > MAX_SKIPPED * len(dataset):
        raise ValueError(
            f"{len(skipped)} of {len(dataset)} images of the evaluation cannot be used, such as "
            f"{next(iter(skipped.values())).reason}"
        )
    return dict(sorted(skipped.items()))


def score_results(
    dataset: GroundTruth,
    results: FloatArray,
    masks: Sequence[RunLengths] | None,
    *,
    max_detections: int,
    output_dir: Path | None,
    skipped: Mapping[int, SkippedImage] = MappingProxyType({}),
) -> Scored:
    """Compute the COCO metrics of results [D, 7], with masks if the data have them.

    For data in the layout of Pascal VOC, its metrics are added. The objects of skipped images are
    left out.
    """
    rest, own = without_images(dataset, results, [*skipped])
    metrics = coco_metrics(rest, own, max_detections=max_detections, masks=masks)
    if dataset.layout == "voc":
        metrics |= voc_metrics(rest, own)
    if skipped:
        metrics[IMAGES_SKIPPED] = len(skipped)
    if output_dir is not None:
        write_json(output_dir / METRICS_FILE, metrics, indent=2)
        (output_dir / SKIPPED_FILE).unlink(missing_ok=True)  # of an earlier evaluation
        if skipped:
            content = [each._asdict() for each in skipped.values()]
            write_json(output_dir / SKIPPED_FILE, content, indent=1)
    notes = _mask_notes(dataset, with_masks=masks is not None)
    if skipped:
        notes.append(
            f"{len(skipped)} of {len(dataset)} images are skipped; their objects are left out of "
            "the metrics"
        )
    return Scored(metrics, results, None, notes, tuple(skipped), masks)


def _mask_notes(dataset: GroundTruth, *, with_masks: bool) -> list[str]:
    """Say why metrics of masks are missing, or of which objects they know nothing."""
    total, missing = len(dataset.labels), int((~dataset.masked).sum())
    if with_masks and missing == total:
        return [f"{dataset.name} has no masks: the masks of the detections are not evaluated"]
    if missing < total and not with_masks:
        return [f"the detections have no masks: those of {dataset.name} are not evaluated"]
    if with_masks and missing:
        return [
            f"{missing} of {total} objects of {dataset.name} have no mask; in the metrics of "
            "masks, detections on them are neither right nor false"
        ]
    return []
