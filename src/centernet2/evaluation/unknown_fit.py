"""Thresholds for objects of none of the classes, fitted to known classes alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from centernet2.evaluation.curves import best_point, curve_of
from centernet2.evaluation.examples import ON_OBJECT_IOU
from centernet2.evaluation.ground_truth import GroundTruth
from centernet2.ops.boxes import pairwise_iou
from centernet2.ops.calibration import calibrate
from centernet2.structures import Detections, ScoreCalibration, UnknownObjects

LOST_SHARE = 0.05  # of the known objects that are found, which may be taken for unknown ones
COLUMNS = {"novelty": np.float64, "object_score": np.float64, "on_object": bool, "found": bool}


def unknown_record(
    unknown: UnknownObjects, boxes: Tensor, detections: Detections, truth: GroundTruth, image: int
) -> dict[str, Any]:
    """Return how new each box of an object is, and what it is on, ready for JSON.

    Args:
        boxes: of `unknown` [U, 4], in pixels of the image file.
        detections: of the image, in its pixels, with the labels of the data, best first.
        truth, image: the ground truth, and the image's index in it.
    """
    rows = truth.rows(image)
    objects = torch.from_numpy(truth.boxes(rows)[~truth.crowd[rows]])  # [G, 4]
    labels = torch.from_numpy(truth.labels[rows][~truth.crowd[rows]].astype(np.int64))
    on_object = found = torch.zeros(len(boxes), dtype=torch.bool)
    if len(objects):
        best, nearest = pairwise_iou(boxes.cpu().float(), objects).max(dim=1)
        on_object = best >= ON_OBJECT_IOU
        found = on_object & _found(detections, objects, labels)[nearest]
    columns = (unknown.novelty, unknown.objectness, on_object, found)
    return {"unknown": dict(zip(COLUMNS, (each.tolist() for each in columns), strict=True))}


def _found(detections: Detections, objects: Tensor, labels: Tensor) -> Tensor:
    """Return whether the best detection on each object [G] has its class."""
    if not len(detections["scores"]):
        return torch.zeros(len(objects), dtype=torch.bool)
    on = pairwise_iou(objects, detections["boxes"].cpu().float()) >= ON_OBJECT_IOU  # [G, D]
    scores = torch.where(on, detections["scores"].cpu().float(), -1.0)
    best = scores.argmax(dim=1)
    return on.any(dim=1) & (detections["labels"].cpu()[best] == labels)


def with_unknown(
    calibration: ScoreCalibration, records: Sequence[Mapping[str, Any]], num_objects: int
) -> ScoreCalibration:
    """Add from when an object is unknown, by the records of all images.

    It must have the objectness of the best F1 of objects of whatever class, and a novelty that at
    most LOST_SHARE of the known objects have that are found: any, if none is found. Nothing is
    added without objects or proposals.
    """
    novelty, objectness, on_object, found = (
        np.array([value for record in records for value in record["unknown"][name]], kind)
        for name, kind in COLUMNS.items()
    )
    point = best_point(curve_of(objectness, on_object, num_objects))
    if point is None:
        return calibration
    known = np.sort(novelty[found & (objectness >= point.threshold)])[::-1]
    least = np.nextafter(known[int(LOST_SHARE * len(known))], np.inf) if len(known) else 0.0
    score = torch.tensor(point.threshold, dtype=torch.float64)
    lowest = calibrate(score, calibration.object_temperature, calibration.object_offset)
    return replace(calibration, unknown_from=(float(least), float(lowest)))
