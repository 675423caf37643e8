"""Non-maximum suppression."""

from torch import Tensor
from torchvision.ops import batched_nms


def nms_per_class(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float, limit: int) -> Tensor:
    """Indices of at most `limit` boxes, best first, no two of a class overlapping by more than `iou_threshold`.

    boxes [R, 4] float, scores [R], labels [R]; a threshold of 0 or below suppresses nothing.
    """
    if iou_threshold <= 0:
        return scores.argsort(descending=True)[:limit]
    keep: Tensor = batched_nms(boxes.float(), scores.float(), labels, iou_threshold)
    return keep[:limit]
