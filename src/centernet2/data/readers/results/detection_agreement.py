"""Agreement of detections with the ground truth in a reading of boxes and ids.

Some files leave open what a number means. The objects themselves tell: if hardly any of the best
detections lies on an object in one reading and most do in another, the other one is meant.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from centernet2.data.dataset import DetectionDataset
from centernet2.ops.box_arrays import box_iou_matrix, xywh_to_xyxy
from centernet2.structures import FloatArray, IntArray

PROBED = 1000  # detections of the highest scores
FEWEST = 3  # detections that say anything
PROBED_IOU = 0.5  # from which a detection lies on an object
RATIO = 1.5  # of the shares that fit in a better reading and in the plain one


class Placed(NamedTuple):
    """The boxes and scores of D detections."""

    boxes: FloatArray  # [D, 4] xywh; NaN where there is none
    scores: FloatArray  # [D]


def share_on_objects(dataset: DetectionDataset, placed: Placed, images: IntArray) -> float:
    """Return the share of the best detections that lie on an object; NaN of too few."""
    return _mean([bool(labels.size) for _, labels in _objects_below(dataset, placed, images)])


def share_of_right_class(
    dataset: DetectionDataset, placed: Placed, images: IntArray, labels: IntArray
) -> float:
    """Return the share of right classes among the best detections on objects.

    It is NaN if they are too few.
    """
    objects = _objects_below(dataset, placed, images)
    return _mean([bool((found == labels[row]).any()) for row, found in objects if found.size])


def is_clearly_better(other: float, plain: float, *, least: float) -> bool:
    """Whether a reading fits the share `least`, and far more than the plain one does."""
    return other >= least and other >= RATIO * plain


def _mean(fits: Sequence[bool]) -> float:
    return float(np.mean(fits)) if len(fits) >= FEWEST else float("nan")


def _objects_below(
    dataset: DetectionDataset, placed: Placed, images: IntArray
) -> list[tuple[int, npt.NDArray[np.int32]]]:
    """Return the best detections, with the classes of the objects each one lies on.

    They are no more than the objects, because the others are mostly false.
    """
    count = min(PROBED, len(dataset.labels))
    best = np.argsort(-placed.scores, kind="stable")[:count]
    best = best[np.isfinite(placed.boxes[best]).all(axis=1)]
    found = []
    best = best[images[best] >= 0]
    for row, image in zip(best.tolist(), images[best].tolist(), strict=True):
        rows = dataset.rows(image)
        box, objects = xywh_to_xyxy(placed.boxes[row : row + 1]), xywh_to_xyxy(dataset.xywh[rows])
        iou = box_iou_matrix(box, objects)[0]
        found.append((row, dataset.labels[rows][iou >= PROBED_IOU]))
    return found
