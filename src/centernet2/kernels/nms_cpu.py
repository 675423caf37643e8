"""Non-maximum suppression on the CPU, which stops as soon as enough boxes stay."""

import torch
from torch import Tensor

from centernet2.kernels.sparse_nms import sparse_nms
from centernet2.kernels.vendor import kept_by_torchvision

# from these on, searching for pairs by sorting is faster than comparing all boxes
SPARSE_BOXES, SPARSE_IOU = 1000, 0.85


def nms_cpu(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor:
    """Which boxes stay; see `operators.nms_mask`."""
    total = int((scores >= 0).sum())
    valid = boxes[:total], scores[:total], None if labels is None else labels[:total]
    stay = None
    if total >= SPARSE_BOXES and SPARSE_IOU <= iou_threshold < 1:
        stay = sparse_nms(*valid, iou_threshold, limit)
    if stay is None:
        stay = _stepwise_nms(*valid, iou_threshold, limit)
    return torch.zeros_like(scores, dtype=torch.bool).index_fill(0, stay, True)


def _stepwise_nms(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor:
    """Rows that stay, the best boxes first, until enough do: later boxes change nothing before.

    Each round compares the survivors with some more boxes; removed ones are not compared again.
    """
    stay, seen, length = torch.arange(0), 0, limit + limit // 4
    while seen < len(boxes) and not (len(stay) >= limit and scores[seen] < scores[stay[limit - 1]]):
        rows = torch.cat([stay, torch.arange(seen, min(len(boxes), seen + length))])
        own = None if labels is None else labels[rows]
        mask = kept_by_torchvision(boxes[rows], scores[rows], own, iou_threshold)
        stay, seen, length = rows[mask], seen + length, 2 * length
    return stay
