"""Do detections fit the ground truth, if their boxes and ids are read in a certain way?

Some files leave open what a number means. The objects themselves tell: if hardly any of the best
detections lies on an object in one reading and most do in another, the other one is meant.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from centernet2.data.dataset import DetectionDataset
from centernet2.data.readers.detection_table import FloatArray, IntArray

PROBED = 1000  # detections of the highest scores
FEWEST = 3  # detections that say anything
ON_OBJECT_IOU = 0.5
CLEAR, UNCLEAR = 0.5, 0.1  # shares that fit: of a confirmed reading, and of a refuted one


class Placed(NamedTuple):
    """The boxes and scores of D detections."""

    boxes: FloatArray  # [D, 4] xywh; NaN where there is none
    scores: FloatArray  # [D]


def share_on_objects(dataset: DetectionDataset, placed: Placed, images: IntArray) -> float:
    """Return the share of the best detections that lie on an object; 0 of too few."""
    on_object = [bool(labels.size) for _, labels in _objects_below(dataset, placed, images)]
    return float(np.mean(on_object)) if len(on_object) >= FEWEST else 0.0


def share_of_right_class(
    dataset: DetectionDataset, placed: Placed, images: IntArray, labels: IntArray
) -> float:
    """Return the share that has the class of its object, among the best detections that lie on one.

    It is 0 if there are too few.
    """
    right = [
        bool((found == labels[row]).any())
        for row, found in _objects_below(dataset, placed, images)
        if found.size
    ]
    return float(np.mean(right)) if len(right) >= FEWEST else 0.0


def is_clearly_better(other: float, plain: float) -> bool:
    """Whether one reading is confirmed and the plain one refuted."""
    return other >= CLEAR and plain < UNCLEAR


def _objects_below(
    dataset: DetectionDataset, placed: Placed, images: IntArray
) -> list[tuple[int, npt.NDArray[np.int32]]]:
    """Return the best detections, each with the classes of the objects that it lies on."""
    best = np.argsort(-placed.scores, kind="stable")[:PROBED]
    best = best[np.isfinite(placed.boxes[best]).all(axis=1)]
    found = []
    best = best[images[best] >= 0]
    for row, image in zip(best.tolist(), images[best].tolist(), strict=True):
        rows = slice(dataset.offsets[image], dataset.offsets[image + 1])
        overlap = _iou(placed.boxes[row], dataset.xywh[rows])
        found.append((row, dataset.labels[rows][overlap >= ON_OBJECT_IOU]))
    return found


def _iou(box: FloatArray, others: FloatArray) -> FloatArray:  # [N]
    """IoU of a box [4] with boxes [N, 4], all xywh."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:])
    intersection = np.clip(high - low, 0, None).prod(axis=1)
    union = box[2] * box[3] + others[:, 2] * others[:, 3] - intersection
    iou: FloatArray = intersection / np.maximum(union, np.finfo(np.float64).tiny)
    return iou
