"""Boxes as NumPy arrays in float64, as annotations and results hold them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BoxArray = NDArray[np.float64]


def xywh_to_xyxy(boxes: BoxArray) -> BoxArray:
    """Convert boxes [B, 4] from position and size to corners."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def xyxy_to_xywh(boxes: NDArray[np.floating[Any]]) -> BoxArray:
    """Convert boxes [B, 4] in float64, so that a results file keeps every digit."""
    corners = boxes.astype(np.float64)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def box_iou_matrix(boxes: BoxArray, others: BoxArray) -> BoxArray:  # [D, G]
    """IoU of boxes [D, 4] and [G, 4], both xyxy."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    intersection = np.clip(high - low, 0, None).prod(axis=2)
    area, other_area = ((each[:, 2:] - each[:, :2]).prod(axis=1) for each in (boxes, others))
    union = area[:, None] + other_area[None] - intersection
    iou: BoxArray = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return iou


def distinct_rows(boxes: BoxArray, max_iou: float) -> list[int]:
    """Return the rows of boxes [D, 4], best first, after NMS."""
    iou = box_iou_matrix(boxes, boxes)
    rows: list[int] = []
    for row in range(len(boxes)):
        if (iou[row, rows] < max_iou).all():
            rows.append(row)
    return rows
