"""NMS of a batch as one operator, which export formats replace by their own."""

import torch
from torch import Tensor

from centernet2.kernels.opaque_operators import opaque_operator
from centernet2.kernels.vendor import kept_by_torchvision


def _mark_kept(
    boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float, num_classes: int
) -> Tensor:
    """Mark the boxes that NMS per class keeps in each image of a batch: [N, R] bool.

    Args:
        boxes: [N, R, 4] float.
        scores: [N, R] float; negative scores mark padding, which is never kept.
        labels: [N, R]; with one class, they are not read.
    """
    masks = [
        kept_by_torchvision(b, s, None if num_classes == 1 else c, iou_threshold) & (s >= 0)
        for b, s, c in zip(boxes, scores, labels, strict=True)
    ]
    return torch.stack(masks)


def _shape_of_marks(boxes: Tensor, scores: Tensor, labels: Tensor, *rest: float) -> Tensor:
    return torch.empty_like(labels, dtype=torch.bool)


nms_of_batch = opaque_operator("nms_of_batch", _mark_kept, _shape_of_marks)
