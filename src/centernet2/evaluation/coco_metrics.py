"""Average precision and recall as COCO and LVIS define them.

hotcoco does the matching; its precision and recall arrays are those of pycocotools and of the LVIS
API to the last bit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hotcoco import COCO, COCOeval

from centernet2.evaluation.ground_truth import (
    GroundTruth,
    as_coco,
    is_federated,
    load_detections,
)
from centernet2.structures import FloatArray, RunLengths

# COCOeval's area ranges: 0 is all areas, then up to 32^2, up to 96^2, larger
AREA_LETTERS = {1: "s", 2: "m", 3: "l"}
MAX_DETECTIONS = 100  # per image, in COCO's AP
MAX_DETECTIONS_LVIS = 300


def detection_limit(truth: GroundTruth) -> int:
    """The number of detections per image that count in AP."""
    return MAX_DETECTIONS_LVIS if is_federated(truth) else MAX_DETECTIONS


def evaluator_of(
    truth: GroundTruth, ground_truth: COCO, detections: COCO, kind: str = "bbox"
) -> COCOeval:
    """Return the evaluator of boxes or masks in all images and classes, in order."""
    federated = is_federated(truth)
    if federated:  # the limit is one over all classes
        detections = detections.cap_detections_per_image(detection_limit(truth))
    evaluator = COCOeval(ground_truth, detections, kind, lvis_style=federated)
    evaluator.params.img_ids = list(range(1, len(truth) + 1))
    evaluator.params.cat_ids = list(range(1, len(truth.class_names) + 1))
    return evaluator


def coco_metrics(
    truth: GroundTruth,
    results: FloatArray,
    *,
    max_detections: int = MAX_DETECTIONS,
    masks: Sequence[RunLengths] | None = None,
) -> dict[str, float]:
    """COCO's twelve metrics and the AP of each class, in percent: {"bbox/AP": ...}.

    With the `masks` [D] of the detections, the metrics of instance segmentation are added:
    {"segm/AP": ...}, with the IoU and the areas of masks. A metric without ground truth (no small
    object, no object of a class) is NaN, where pycocotools has -1. AP counts the 100 best
    detections of an image, as published; for a detector that gives more, the AR of that number
    is added.

    For federated annotations (LVIS, arXiv 1908.03195) these are the thirteen LVIS metrics: 300
    detections of an image count, a detection is false only where its class was annotated, and APr,
    APc and APf are those of rare, common and frequent classes.
    """
    federated = is_federated(truth)
    counts = sorted({1, 10, MAX_DETECTIONS, max(MAX_DETECTIONS, max_detections)})
    if federated:
        counts = [MAX_DETECTIONS_LVIS]
        # the LVIS API skips empty boxes
        kept = np.flatnonzero((results[:, 3] > 0) & (results[:, 4] > 0)).tolist()
        results, masks = results[kept], masks and [masks[i] for i in kept]
    ground_truth = as_coco(truth)
    loaded = {"bbox": (ground_truth, load_detections(ground_truth, results))}
    if masks is not None and truth.masked.any():
        ground_truth = as_coco(truth, masks=True)
        loaded["segm"] = (ground_truth, ground_truth.load_res(_mask_records(results, masks)))
    metrics: dict[str, float] = {}
    for kind, (objects, detections) in loaded.items():
        evaluator = evaluator_of(truth, objects, detections, kind)
        of_kind = _metrics_of_kind(truth, evaluator, counts)
        metrics |= {f"{kind}/{name}": value for name, value in of_kind.items()}
    return metrics


def _metrics_of_kind(
    truth: GroundTruth, evaluator: COCOeval, counts: list[int]
) -> dict[str, float]:
    """Compute the metrics of boxes or masks; `counts`: detections per image for AR."""
    evaluator.params.max_dets = counts
    evaluator.evaluate()
    evaluator.accumulate()
    curves: dict[str, Any] = evaluator.eval or {}
    last = counts.index(MAX_DETECTIONS) if MAX_DETECTIONS in counts else -1
    precision = curves["precision"][..., last]  # [IoU threshold, recall, C, area]
    recall = curves["recall"]  # [IoU threshold, C, area, count]

    metrics = {
        "AP": _per_cent(precision[..., 0]),
        "AP50": _per_cent(precision[0, ..., 0]),
        "AP75": _per_cent(precision[5, ..., 0]),
        **{f"AP{letter}": _per_cent(precision[..., k]) for k, letter in AREA_LETTERS.items()},
        **{f"AR{count}": _per_cent(recall[..., 0, k]) for k, count in enumerate(counts)},
        **{f"AR{letter}": _per_cent(recall[..., k, last]) for k, letter in AREA_LETTERS.items()},
    }
    for letter in "rcf":  # rare, common and frequent classes, if they are annotated
        if classes := [label for label, own in enumerate(truth.frequencies) if own == letter]:
            metrics[f"AP{letter}"] = _per_cent(precision[:, :, classes, 0])
    for label, name in enumerate(truth.class_names):
        metrics[f"AP/{name}"] = _per_cent(precision[:, :, label, 0])
    return metrics


def _mask_records(results: FloatArray, masks: Sequence[RunLengths]) -> list[dict[str, Any]]:
    """Make results without boxes; COCO would take the area of a box for the mask's."""
    return [
        {
            "image_id": int(row[0]) + 1,
            "category_id": int(row[6]) + 1,
            "score": row[5],
            "segmentation": mask,
        }
        for row, mask in zip(results.tolist(), masks, strict=True)
    ]


def _per_cent(values: FloatArray) -> float:
    """100 times the mean, without the -1 by which COCOeval marks missing ground truth."""
    present = values[values > -1]
    return 100 * float(present.mean()) if present.size else float("nan")
