"""Operations on boxes: xyxy in pixels, or ltrb, distances of a point to the sides."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from centernet2.ops.tensors import constant

# (height, width); a tensor [2] on the device if a compiled program must not depend on the values
Size = tuple[int, int] | Tensor
MAX_LOG_SCALE = math.log(1000.0 / 16)  # deltas enlarge a box at most 62.5 times


def ltrb_to_boxes(points: Tensor, ltrb: Tensor) -> Tensor:
    """Convert distances ltrb [..., 4] from points [..., 2] (x, y) to boxes [..., 4]."""
    return torch.cat([points - ltrb[..., :2], points + ltrb[..., 2:]], dim=-1)


def boxes_to_ltrb(points: Tensor, boxes: Tensor) -> Tensor:
    """Compute distances [..., 4] from points [..., 2] to box sides; negative outside."""
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)


def box_area(boxes: Tensor) -> Tensor:
    """Compute areas [...] of boxes [..., 4]."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def clip_to(boxes: Tensor, limits: Tensor) -> Tensor:
    """Clip boxes [..., 4] to limits [..., 4]: width, height, width, height."""
    return boxes.clamp(min=0).minimum(limits)


def clip_boxes(boxes: Tensor, size: Size) -> Tensor:
    """Clip boxes [..., 4] to an image of `size`."""
    if isinstance(size, Tensor):
        return clip_to(boxes, size.flip(0).repeat(2).to(boxes.dtype))
    height, width = size
    x = boxes[..., 0::2].clamp(0, width)
    y = boxes[..., 1::2].clamp(0, height)
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)


def nonempty(boxes: Tensor) -> Tensor:
    """Whether boxes [..., 4] have a positive width and height: [...] bool."""
    return (boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])


def box_centers(boxes: Tensor) -> Tensor:
    """Compute centers [..., 2] (x, y) of boxes [..., 4]."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def pairwise_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Compute the IoU [A, B] of boxes [A, 4] and [B, 4]; 0 for disjoint boxes."""
    low = torch.max(boxes1[:, None, :2], boxes2[None, :, :2])  # [A, B, 2]
    high = torch.min(boxes1[:, None, 2:], boxes2[None, :, 2:])  # [A, B, 2]
    intersection = (high - low).clamp(min=0).prod(dim=2)  # [A, B]
    union = box_area(boxes1)[:, None] + box_area(boxes2)[None, :] - intersection
    return torch.where(intersection > 0, intersection / union, torch.zeros_like(intersection))


def encode_deltas(boxes: Tensor, targets: Tensor, weights: Sequence[float]) -> Tensor:
    """Compute deltas (dx, dy, dw, dh) from boxes [R, 4] to targets (arXiv 1311.2524)."""
    size, target_size = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    center, target_center = boxes[:, :2] + 0.5 * size, targets[:, :2] + 0.5 * target_size
    deltas = torch.cat([(target_center - center) / size, torch.log(target_size / size)], dim=1)
    return torch.stack(
        [delta * weight for delta, weight in zip(deltas.unbind(1), weights, strict=True)], dim=1
    )


def decode_deltas(boxes: Tensor, deltas: Tensor, weights: Sequence[float]) -> Tensor:
    """Apply deltas [R, 4 * K] to boxes [R, 4]: K boxes each, [R, K, 4]."""
    deltas = torch.unflatten(deltas.float(), 1, (-1, 4))  # [R, K, 4]
    deltas = torch.stack(
        [delta / weight for delta, weight in zip(deltas.unbind(2), weights, strict=True)], dim=2
    )
    size = (boxes[:, 2:] - boxes[:, :2])[:, None]  # [R, 1, 2]
    center = boxes[:, None, :2] + 0.5 * size + deltas[..., :2] * size  # [R, K, 2]
    half = 0.5 * size * torch.exp(deltas[..., 2:].clamp(max=MAX_LOG_SCALE))
    return torch.cat([center - half, center + half], dim=-1)


def scale_boxes(boxes: Tensor, from_size: tuple[int, int], to_size: tuple[int, int]) -> Tensor:
    """Scale boxes [..., 4] from one image size (height, width) to another, and clip."""
    y, x = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return clip_boxes(boxes * constant([x, y, x, y], boxes), to_size)
