"""Average precision as Pascal VOC defines it.

Everingham et al., IJCV 2010, and section 3.4.1 of the 2012 development kit. It differs from COCO's
AP50 in three ways: a detection is compared with the object of highest IoU, even if a better
detection has already matched it; an IoU of exactly 0.5 is no match; the curve is not sampled.
Crowds represent objects marked difficult: neither right nor false. The development kit counts
pixels: its box from 1 to 10 is ours from 0 to 10.
"""

import numpy as np

from centernet2.evaluation.ground_truth import GroundTruth
from centernet2.ops.box_arrays import box_iou_matrix, xywh_to_xyxy
from centernet2.structures import FloatArray

VOC_IOU = 0.5
RECALLS_2007 = np.linspace(0, 1, 11)


def voc_metrics(truth: GroundTruth, results: FloatArray) -> dict[str, float]:
    """Compute AP50 in percent: from the area (VOC 2010), 11 points (2007), by class."""
    areas, elevens = {}, []
    for label, name in enumerate(truth.class_names):
        rows = results[results[:, 6] == label]
        rows = rows[np.argsort(-rows[:, 5], kind="stable")]
        recall, precision = _curve(truth, label, rows)
        areas[name] = 100 * area_under(recall, precision)
        elevens.append(100 * eleven_points(recall, precision))
    metrics = {"AP50": _mean(list(areas.values())), "AP50_2007": _mean(elevens)}
    metrics |= {f"AP50/{name}": value for name, value in areas.items()}
    return {f"voc/{name}": value for name, value in metrics.items()}


def _curve(truth: GroundTruth, label: int, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Recall and precision [D] of a class by descending score; NaN without objects."""
    of_class = truth.labels == label  # [B]
    total = (of_class & ~truth.crowd).sum()
    if not total:
        return np.full(1, np.nan), np.full(1, np.nan)
    corners = xywh_to_xyxy(rows[:, 1:5])  # [D, 4]
    taken = np.zeros(len(truth.labels), dtype=bool)
    hit, false = np.zeros(len(rows)), np.zeros(len(rows))
    for d, image in enumerate(rows[:, 0].astype(int).tolist()):
        rows_of_image = truth.rows(image)
        objects = rows_of_image.start + np.flatnonzero(of_class[rows_of_image])
        iou = box_iou_matrix(corners[d : d + 1], truth.boxes(objects).astype(np.float64))[0]
        best = int(iou.argmax()) if len(objects) else -1
        if best < 0 or iou[best] <= VOC_IOU or taken[objects[best]]:
            false[d] = 1
        elif not truth.crowd[objects[best]]:
            hit[d] = taken[objects[best]] = True
    hits = hit.cumsum()
    return hits / total, hits / np.maximum(hits + false.cumsum(), np.finfo(np.float64).eps)


def area_under(recall: FloatArray, precision: FloatArray) -> float:
    """Area under the best precision at each recall or a higher one."""
    if np.isnan(recall).any():
        return float("nan")
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * best).sum())


def eleven_points(recall: FloatArray, precision: FloatArray) -> float:
    """Mean of the best precision at recalls of at least 0, 0.1, ... 1."""
    if np.isnan(recall).any():
        return float("nan")
    return float(np.mean([precision[recall >= least].max(initial=0.0) for least in RECALLS_2007]))


def _mean(values: list[float]) -> float:
    present = [value for value in values if not np.isnan(value)]
    return float(np.mean(present)) if present else float("nan")
