"""Average precision and recall as COCO and LVIS define them.

hotcoco does the matching; its precision and recall arrays are those of pycocotools and of the LVIS API to the last bit.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from hotcoco import COCO, COCOeval

from centernet2.evaluation.ground_truth import FloatArray, GroundTruth, as_coco, is_federated
from centernet2.evaluation.results import RunLengths

logger = logging.getLogger(__name__)

SIZES = {
    1: "s",
    2: "m",
    3: "l",
}  # COCOeval's area ranges: 0 is all sizes, then up to 32^2, up to 96^2, larger
MAX_DETECTIONS = 100  # per image: COCO's AP counts no more
MAX_DETECTIONS_LVIS = 300
PROBED = 100  # annotations looked at to know whether a data set has masks


def coco_metrics(
    truth: GroundTruth,
    results: FloatArray,
    *,
    max_detections: int = MAX_DETECTIONS,
    masks: Sequence[RunLengths] | None = None,
) -> dict[str, float]:
    """The twelve COCO figures of box detection and the AP of each class, in per cent: {"bbox/AP": ...}.

    With the `masks` [D] of the detections, those of instance segmentation as well: {"segm/AP": ...}, in which overlap
    and size are the masks'. A figure without ground truth (no small object, no object of a class) is NaN, where
    pycocotools has -1. AP counts the 100 best detections of an image, as every published figure does; where a detector
    gives more, AR of that number is added.

    Where the annotations are federated (LVIS, arXiv 1908.03195), the thirteen LVIS figures take their place: 300
    detections of an image count, a detection is false only where its class was looked for, and APr, APc and APf are
    those of rare, common and frequent classes.
    """
    ground_truth = as_coco(truth)
    federated = is_federated(ground_truth)
    counts = [MAX_DETECTIONS_LVIS] if federated else sorted({1, 10, MAX_DETECTIONS, max_detections})
    if federated:  # the LVIS API passes over empty boxes
        kept = np.flatnonzero((results[:, 3] > 0) & (results[:, 4] > 0)).tolist()
        results, masks = results[kept], masks and [masks[i] for i in kept]
    found = {"bbox": ground_truth.load_res(results)}
    if masks is not None and _has_masks(ground_truth):
        found["segm"] = ground_truth.load_res(_mask_records(results, masks))
    elif masks is not None:
        logger.warning(
            "%s has no masks: the detections' are not evaluated",
            truth.annotations or "the data set",
        )
    metrics: dict[str, float] = {}
    for kind, detections in found.items():
        detections = (
            detections.cap_detections_per_image(MAX_DETECTIONS_LVIS) if federated else detections
        )
        evaluator = COCOeval(ground_truth, detections, kind, lvis_style=federated)
        metrics |= {
            f"{kind}/{name}": value for name, value in _figures(truth, evaluator, counts).items()
        }
    return metrics


def _has_masks(ground_truth: COCO) -> bool:
    return any(
        "segmentation" in each
        for each in ground_truth.load_anns(ground_truth.get_ann_ids()[:PROBED])
    )


def _figures(truth: GroundTruth, evaluator: COCOeval, counts: list[int]) -> dict[str, float]:
    evaluator.params.img_ids = sorted(truth.image_ids.tolist())
    evaluator.params.cat_ids = category_ids = sorted(truth.category_ids)
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
        **{f"AP{size}": _per_cent(precision[..., area]) for area, size in SIZES.items()},
        **{f"AR{count}": _per_cent(recall[..., 0, index]) for index, count in enumerate(counts)},
        **{f"AR{size}": _per_cent(recall[..., area, last]) for area, size in SIZES.items()},
    }
    for letter, classes in _by_frequency(evaluator.coco_gt, category_ids).items():
        metrics[f"AP{letter}"] = _per_cent(precision[:, :, classes, 0])
    for name, category in zip(truth.class_names, truth.category_ids, strict=True):
        metrics[f"AP/{name}"] = _per_cent(precision[:, :, category_ids.index(category), 0])
    return metrics


def _by_frequency(ground_truth: COCO, category_ids: list[int]) -> dict[str, list[int]]:
    """The positions of rare, common and frequent classes, where the annotations tell; empty elsewhere."""
    letters = [category.get("frequency") for category in ground_truth.load_cats(category_ids)]
    return {
        letter: [i for i, each in enumerate(letters) if each == letter]
        for letter in "rcf"
        if letter in letters
    }


def _mask_records(results: FloatArray, masks: Sequence[RunLengths]) -> list[dict[str, Any]]:
    """Detections without boxes: with one, COCO takes its area for the mask's."""
    return [
        {"image_id": int(row[0]), "category_id": int(row[6]), "score": row[5], "segmentation": mask}
        for row, mask in zip(results.tolist(), masks, strict=True)
    ]


def _per_cent(values: FloatArray) -> float:
    """100 times the mean of the values that exist: COCOeval marks with -1 what has no ground truth."""
    present = values[values > -1]
    return 100 * float(present.mean()) if present.size else float("nan")
