"""Masks in the grid of a box and in an image (arXiv 1703.06870, section 3)."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from centernet2.ops.tensors import of_labels


def mask_targets(masks: Tensor, boxes: Tensor, objects: Tensor, size: int) -> Tensor:
    """Crop masks to the grids of boxes [R, 4]: bool [R, size, size].

    A cell is set if the mask covers at least half of it.

    Args:
        masks: bool [G, H, W].
        objects: [R] row of `masks` for each box.
    """
    from torchvision.ops import roi_align  # for training alone: the import takes a second

    if not len(masks):
        return boxes.new_zeros(len(boxes), size, size, dtype=torch.bool)
    rois = torch.cat([objects[:, None].to(boxes.dtype), boxes], dim=1).float()  # [R, 5]
    covered: Tensor = roi_align(masks[:, None].float(), rois, size, 1.0, 0, True)
    return covered[:, 0] >= 0.5


def mask_loss(logits: Tensor, targets: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
    """Compute the mean binary cross-entropy over the cells of valid RoIs, or 0.

    Args:
        logits: [R, C, M, M], or [R, 1, M, M] if masks are class-agnostic.
        targets: bool [R, M, M].
        labels: [R] in 0..C; ignored for invalid RoIs.
        valid: [R] bool.
    """
    own = of_labels(logits, labels).float()  # [R, M, M]
    loss = binary_cross_entropy_with_logits(own, targets.float(), reduction="none")
    loss = loss.mean(dim=(1, 2))  # [R]
    return (loss * valid).sum() / valid.sum().clamp(min=1)


def paste_masks(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Paste masks [D, M, M] at boxes [D, 4] into an image of `size`: bool [D, H, W].

    A pixel is set if the bilinearly interpolated probability reaches 0.5. Only pixels inside boxes
    are computed.
    """
    pasted = torch.zeros(len(masks), *size, dtype=torch.bool, device=masks.device)
    masks, boxes = masks.float(), boxes.float()
    for i, (left, top, right, bottom) in enumerate(_windows(boxes, size)):
        inside = stretch_masks(masks[i, None], boxes[i, None], (top, bottom), (left, right))
        pasted[i, top:bottom, left:right] = inside[0] >= 0.5
    return pasted


def _windows(boxes: Tensor, size: tuple[int, int]) -> list[list[int]]:
    """Return windows (left, top, right, bottom) of pixels that boxes [D, 4] touch."""
    limit = boxes.new_tensor([size[1], size[0]])
    low = boxes[:, :2].floor().clamp(min=0).minimum(limit)
    high = boxes[:, 2:].ceil().minimum(limit).maximum(low)
    windows: list[list[int]] = torch.cat([low, high], dim=1).long().tolist()
    return windows


def stretch_masks(
    masks: Tensor, boxes: Tensor, rows: tuple[int, int], columns: tuple[int, int]
) -> Tensor:
    """Interpolate masks [D, M, M] at pixels of rows and columns: [D, rows, columns].

    Bilinear interpolation, with zeros around the mask, is separable: two matrix products.
    """
    vertical = _weights(boxes[:, 1], boxes[:, 3], rows, masks.shape[1])  # [D, rows, M]
    horizontal = _weights(boxes[:, 0], boxes[:, 2], columns, masks.shape[2])  # [D, columns, M]
    return vertical @ masks @ horizontal.transpose(1, 2)


def _weights(
    low: Tensor, high: Tensor, pixels: tuple[int, int], cells: int
) -> Tensor:  # [D, pixels, cells]
    """Compute bilinear weights of cells for boxes from `low` to `high` [D] on an axis."""
    center = torch.arange(*pixels, device=low.device) + 0.5  # [pixels]
    extent = (high - low).clamp(min=1e-6)
    position = (center - low[:, None]) / extent[:, None] * cells - 0.5  # [D, pixels] in cells
    return (1 - (position[..., None] - torch.arange(cells, device=low.device)).abs()).clamp(min=0)
