"""Non-maximum suppression."""

from torch import Tensor
from torchvision.ops import batched_nms


def nms_per_class(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """Indices of boxes, best first, no two of a class overlapping by more than `iou_threshold`.

    boxes [R, 4] float, scores [R], labels [R].
    """
    keep: Tensor = batched_nms(boxes.float(), scores.float(), labels, iou_threshold)
    return keep
