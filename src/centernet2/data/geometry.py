"""Resize, crop, flip and clip the targets of an image: boxes, polygons and masks."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from centernet2.data.annotation_masks import draw_objects
from centernet2.structures import Target

MIN_EDGE = 1e-5  # pixels: a narrower box is empty


def resize_target(target: Target, height: int, width: int, *, scale: tuple[float, float]) -> Target:
    """Scale boxes and polygons by (x, y) factors, and masks to the size of the image."""
    moved: Target = {**target, "boxes": target["boxes"] * target["boxes"].new_tensor(scale * 2)}
    if "masks" in target:
        masks = target["masks"][:, None].float()  # [G, 1, H, W]
        moved["masks"] = F.interpolate(masks, (height, width), mode="nearest-exact")[:, 0].bool()
    return move_polygons(moved, scale=scale)


def move_polygons(
    target: Target,
    *,
    scale: tuple[float, float] = (1.0, 1.0),
    shift: tuple[float, float] = (0.0, 0.0),
) -> Target:
    """Map the points of polygons to point * scale + shift, both (x, y)."""
    if "polygons" not in target:
        return target
    factor = torch.tensor(scale, dtype=torch.float64)
    offset = torch.tensor(shift, dtype=torch.float64)
    moved = [[part * factor + offset for part in polygons] for polygons in target["polygons"]]
    return {**target, "polygons": moved}


def crop_image(image: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """Crop an image or masks [K, H, W] to a box (top, left, height, width)."""
    top, left, height, width = box
    return image[:, top : top + height, left : left + width]


def crop_target(target: Target, box: tuple[int, int, int, int]) -> Target:
    """Shift targets into a crop; `clip_and_drop_empty` clips them once, at the end."""
    top, left, _, _ = box
    shift = target["boxes"].new_tensor([left, top, left, top])
    moved: Target = {**target, "boxes": target["boxes"] - shift}
    if "masks" in target:
        moved["masks"] = crop_image(target["masks"], box)
    return move_polygons(moved, shift=(-left, -top))


def flip_target(target: Target, length: int, *, axis: Literal[-1, -2]) -> Target:
    """Flip targets along an axis of the image, which is `length` pixels long."""
    x1, y1, x2, y2 = target["boxes"].unbind(1)
    if axis == -1:
        x1, x2 = length - x2, length - x1
    else:
        y1, y2 = length - y2, length - y1
    moved: Target = {**target, "boxes": torch.stack([x1, y1, x2, y2], dim=1)}
    if "masks" in target:
        moved["masks"] = target["masks"].flip(axis)
    if axis == -1:
        return move_polygons(moved, scale=(-1, 1), shift=(length, 0))
    return move_polygons(moved, scale=(1, -1), shift=(0, length))


def clip_and_drop_empty(target: Target, *, height: int, width: int) -> Target:
    """Draw masks from polygons, clip boxes to the image, and drop objects outside it."""
    boxes = clip_boxes_to(target["boxes"], height, width)  # [G, 4]
    kept = (boxes[:, 2:] - boxes[:, :2] > MIN_EDGE).all(dim=1)
    masks = (
        draw_objects(target["polygons"], (height, width))
        if "polygons" in target
        else target.get("masks")
    )
    if masks is not None:
        kept &= masks.flatten(1).any(dim=1)
    left: Target = {"boxes": boxes[kept], "labels": target["labels"][kept]}
    if masks is not None:
        left["masks"] = masks[kept]
    if "unknown" in target:
        left["unknown"] = target["unknown"]
    if "uncertain" in target:
        left["uncertain"] = target["uncertain"][kept]
    return left


def rotated_extent(width: float, height: float, angle: float) -> tuple[float, float]:
    """Width and height of the upright box around a rotated one; angle in radians."""
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    return width * cos + height * sin, width * sin + height * cos


def clip_boxes_to(boxes: Tensor, height: int, width: int) -> Tensor:
    """Clip boxes [G, 4] to an image."""
    return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
