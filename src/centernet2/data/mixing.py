"""Augmentation that mixes several images: mosaic, mixup, copy-paste.

All are off by default. Boxes and masks are transformed with the images.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from centernet2.data.annotation_masks import draw_objects
from centernet2.data.geometry import clip_boxes_to, move_polygons, resize_target
from centernet2.data.transforms import GRAY, Sample, Transform, random_number
from centernet2.images.resize import resize_image
from centernet2.structures import Target

# takes a sample and a function that draws another one
Mixer = Callable[[Sample, Callable[[], Sample], Generator], Sample]


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """Mix samples, before and after the transform of a single image."""

    before: tuple[Mixer, ...] = ()  # on images as decoded from their files
    after: tuple[Mixer, ...] = ()  # on transformed images

    def __call__(
        self, sample: Sample, draw: Callable[[], Sample], transform: Transform, generator: Generator
    ) -> Sample:
        def mixed(sample: Sample) -> Sample:
            for mixer in self.before:
                sample = mixer(sample, draw, generator)
            return transform(*sample, generator)

        sample = mixed(sample)
        for mixer in self.after:
            sample = mixer(sample, lambda: mixed(draw()), generator)
        return sample


@dataclass(frozen=True, kw_only=True)
class Mosaic:
    """Place four images around a random point of a gray canvas.

    Each image is fitted into a square of `size` pixels; the canvas has twice that edge.
    YOLOv4, https://arxiv.org/abs/2004.10934, section 3.3.
    """

    size: int
    probability: float

    def __call__(self, sample: Sample, draw: Callable[[], Sample], generator: Generator) -> Sample:
        if random_number(0, 1, generator) >= self.probability:
            return sample
        edge = 2 * self.size
        center_y, center_x = (
            round(random_number(0.5, 1.5, generator) * self.size) for _ in range(2)
        )
        canvas = torch.full((3, edge, edge), GRAY, dtype=torch.uint8)
        targets = []
        for quadrant, (image, target) in enumerate([sample, *(draw() for _ in range(3))]):
            scale = self.size / max(image.shape[1:])
            height, width = (max(1, round(side * scale)) for side in image.shape[1:])
            factors = (width / image.shape[2], height / image.shape[1])
            boxes = clip_boxes_to(target["boxes"], image.shape[1], image.shape[2])
            image = resize_image(image, height, width)
            target = resize_target({**target, "boxes": boxes}, height, width, scale=factors)
            top = center_y - height if quadrant < 2 else center_y
            left = center_x - width if quadrant % 2 == 0 else center_x
            _paste(canvas, image, top, left)
            targets.append(_move_to_canvas(target, top, left, edge, edge))
        return canvas, join_targets(targets, edge, edge)


@dataclass(frozen=True, kw_only=True)
class MixUp:
    """Blend two images and keep the objects of both.

    Bag of freebies, https://arxiv.org/abs/1902.04103.
    """

    probability: float
    shares: tuple[float, float] = (0.4, 0.6)  # range of the first image's weight

    def __call__(self, sample: Sample, draw: Callable[[], Sample], generator: Generator) -> Sample:
        if random_number(0, 1, generator) >= self.probability:
            return sample
        share = random_number(*self.shares, generator)
        samples = (sample, draw())
        height, width = (max(image.shape[axis] for image, _ in samples) for axis in (1, 2))
        blend = torch.zeros(3, height, width)
        for (image, _), weight in zip(samples, (share, 1 - share), strict=True):
            layer = torch.full((3, height, width), GRAY, dtype=torch.uint8)
            _paste(layer, image, 0, 0)
            blend += weight * layer
        targets = [_move_to_canvas(target, 0, 0, height, width) for _, target in samples]
        return blend.round().to(torch.uint8), join_targets(targets, height, width)


@dataclass(frozen=True, kw_only=True)
class CopyPaste:
    """Paste objects of another image onto this one by their masks.

    Covered objects lose the covered part of mask and box, and are dropped if a share below
    `min_visible` is left. Copy-paste, https://arxiv.org/abs/2012.07177.
    """

    probability: float
    share: float = 0.5  # of the other image's objects
    min_visible: float = 0.1

    def __call__(self, sample: Sample, draw: Callable[[], Sample], generator: Generator) -> Sample:
        if random_number(0, 1, generator) >= self.probability:
            return sample
        image, target = sample
        other_image, other = draw()
        if "masks" not in target or "masks" not in other:
            return sample  # an image without objects
        height, width = image.shape[1:]
        layer = torch.full_like(image, GRAY)
        _paste(layer, other_image, 0, 0)
        other = _move_to_canvas(other, 0, 0, height, width)
        chosen = torch.rand(len(other["labels"]), generator=generator) < self.share
        chosen &= other["masks"].flatten(1).any(dim=1) & ~_are_uncertain(other)
        pasted = {key: other[key][chosen] for key in ("boxes", "labels", "masks")}
        pasted["boxes"] = clip_boxes_to(pasted["boxes"], height, width)
        cover = pasted["masks"].any(dim=0)  # [H, W]
        kept = cover_target(target, cover, min_visible=self.min_visible)
        joined: Target = {
            **target,
            "boxes": torch.cat([kept["boxes"], pasted["boxes"]]),
            "labels": torch.cat([kept["labels"], pasted["labels"]]),
            "masks": torch.cat([kept["masks"], pasted["masks"]]),
        }
        if "uncertain" in kept:
            certain = torch.zeros(len(pasted["labels"]), dtype=torch.bool)
            joined["uncertain"] = torch.cat([kept["uncertain"], certain])
        return torch.where(cover, layer, image), joined


def cover_target(target: Target, cover: Tensor, *, min_visible: float) -> Target:
    """Remove a covered area, bool [H, W], from objects with masks [G, H, W]."""
    from torchvision.ops import masks_to_boxes  # for training alone: the import takes a second

    masks = target["masks"] & ~cover
    before, after = (m.flatten(1).sum(dim=1) for m in (target["masks"], masks))
    kept = after > min_visible * before
    boxes, masks, changed = target["boxes"][kept], masks[kept], (after < before)[kept]
    if changed.any():
        tight = masks_to_boxes(masks[changed]).to(boxes.dtype)
        tight[:, 2:] += 1  # masks_to_boxes returns the last pixel, not the edge behind it
        boxes = boxes.clone()
        low = torch.max(boxes[changed, :2], tight[:, :2])
        high = torch.min(boxes[changed, 2:], tight[:, 2:])
        boxes[changed] = torch.cat([low, high], dim=1)
    left: Target = {"boxes": boxes, "labels": target["labels"][kept], "masks": masks}
    if "uncertain" in target:
        left["uncertain"] = target["uncertain"][kept]
    return left


def join_targets(targets: list[Target], height: int, width: int) -> Target:
    """Join the objects on one canvas; polygons are kept if all targets have them.

    A class is known where it was labelled in all images.
    """
    joined: Target = {
        "boxes": torch.cat([target["boxes"] for target in targets]),
        "labels": torch.cat([target["labels"] for target in targets]),
    }
    if masks := [target["unknown"] for target in targets if "unknown" in target]:
        joined["unknown"] = torch.stack(masks).any(dim=0)
    if any("uncertain" in target for target in targets):
        joined["uncertain"] = torch.cat([_are_uncertain(target) for target in targets])
    if all("polygons" in target for target in targets):
        joined["polygons"] = [polygons for target in targets for polygons in target["polygons"]]
    elif any("polygons" in target or "masks" in target for target in targets):
        joined["masks"] = torch.cat([_masks_of(target, height, width) for target in targets])
    return joined


def _are_uncertain(target: Target) -> Tensor:  # bool [G]
    if "uncertain" in target:
        return target["uncertain"]
    return torch.zeros_like(target["labels"], dtype=torch.bool)


def _masks_of(target: Target, height: int, width: int) -> Tensor:  # bool [G, H, W]
    if "polygons" in target:
        return draw_objects(target["polygons"], (height, width))
    return target["masks"] if "masks" in target else torch.zeros(0, height, width, dtype=torch.bool)


def _paste(canvas: Tensor, image: Tensor, top: int, left: int) -> None:
    """Copy an image [..., h, w] into a canvas [..., H, W], clipped to it."""
    (height, width), (h, w) = canvas.shape[-2:], image.shape[-2:]
    y, x = max(0, top), max(0, left)
    bottom, right = min(height, top + h), min(width, left + w)
    if bottom > y and right > x:
        canvas[..., y:bottom, x:right] = image[..., y - top : bottom - top, x - left : right - left]


def _move_to_canvas(target: Target, top: int, left: int, height: int, width: int) -> Target:
    """Shift the objects of an image that is placed at (top, left) of a canvas."""
    shift = target["boxes"].new_tensor([left, top, left, top])
    moved: Target = {**target, "boxes": target["boxes"] + shift}
    if "masks" in target:
        moved["masks"] = torch.zeros(len(target["masks"]), height, width, dtype=torch.bool)
        _paste(moved["masks"], target["masks"], top, left)
    return move_polygons(moved, shift=(left, top))
