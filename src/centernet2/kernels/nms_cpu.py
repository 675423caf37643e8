"""Non-maximum suppression (NMS) on the CPU that stops when enough boxes are kept."""

import torch
from torch import Tensor

from centernet2.kernels.sparse_nms import sparse_nms
from centernet2.kernels.vendor import kept_by_torchvision

# minimum values for which a search for pairs by sorting is faster than comparing all boxes
SPARSE_BOXES, SPARSE_IOU = 1000, 0.85


def nms_cpu(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor:
    """Kernel of `operators.nms_mask`."""
    total = int((scores >= 0).sum())
    valid = boxes[:total], scores[:total], None if labels is None else labels[:total]
    kept = None
    if total >= SPARSE_BOXES and SPARSE_IOU <= iou_threshold < 1:
        kept = sparse_nms(*valid, iou_threshold, limit)
    if kept is None:
        kept = _stepwise_nms(*valid, iou_threshold, limit)
    return torch.zeros_like(scores, dtype=torch.bool).index_fill(0, kept, True)


def _stepwise_nms(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor:
    """Return rows of kept boxes, best first, until `limit` are kept.

    Each round compares the kept boxes with some more; removed boxes are not compared again. Later
    boxes never remove earlier ones.
    """
    kept, seen, length = torch.arange(0), 0, limit + limit // 4
    while seen < len(boxes) and not (len(kept) >= limit and scores[seen] < scores[kept[limit - 1]]):
        rows = torch.cat([kept, torch.arange(seen, min(len(boxes), seen + length))])
        own = None if labels is None else labels[rows]
        mask = kept_by_torchvision(boxes[rows], scores[rows], own, iou_threshold)
        kept, seen, length = rows[mask], seen + length, 2 * length
    return kept
