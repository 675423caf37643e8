"""Batches of normalized, padded images, and their ground truth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from centernet2.kernels import is_synchronous, not_compiled
from centernet2.ops.tensors import can_copy_later
from centernet2.structures import ImageBatch, Target

PADDED_OBJECTS = 128  # per image, with static shapes; nearly all images of COCO have fewer
MAX_VALUE = 255
OVERSHOOT = 0.15  # bicubic resizing exceeds the range by that share of the brightest value
NORMALIZED = 16  # beyond any value that is divided by a standard deviation
CHANNEL_ORDERS = ("RGB", "BGR")


@dataclass(frozen=True)
class PreprocessOptions:
    """Preprocessing, as the weights expect it."""

    pixel_mean: tuple[float, ...] = (103.53, 116.28, 123.675)  # in the order of `format`
    pixel_std: tuple[float, ...] = (1.0, 1.0, 1.0)
    format: str = "BGR"  # channel order, or RGB


class Preprocess(nn.Module):
    """Normalize images and pad them to one size.

    Args:
        options: pixel format that the weights expect.
        size_divisibility: height and width are padded to multiples of it.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, options: PreprocessOptions = PreprocessOptions(), *, size_divisibility: int
    ) -> None:
        super().__init__()
        if options.format not in CHANNEL_ORDERS:
            raise ValueError(
                f"format is '{options.format}'; choose one of {', '.join(CHANNEL_ORDERS)}"
            )
        mean, std = torch.tensor(options.pixel_mean), torch.tensor(options.pixel_std)
        self.register_buffer("mean", mean.view(3, 1, 1), persistent=False)
        self.register_buffer("std", std.view(3, 1, 1), persistent=False)
        self.reverses_channels = options.format == "BGR"
        self.size_divisibility = size_divisibility
        # static shapes: (height, width) to pad to, the smallest that is large enough
        self.fixed_sizes: Sequence[tuple[int, int]] = ()

    def forward(self, images: Sequence[Tensor]) -> ImageBatch:
        """Return a batch of images [3, h, w] (RGB in 0..255), padded right and bottom."""
        sizes = [size_of(image) for image in images]
        height, width = self.padded_size(*(max(side) for side in zip(*sizes, strict=True)))
        batch = self.mean.new_zeros(len(images), 3, height, width)
        later = can_copy_later(batch.device)
        for row, image, (h, w) in zip(batch, images, sizes, strict=True):
            image = image.to(row.device, non_blocking=later)
            row[:, :h, :w] = self.normalize(image)
        return ImageBatch(batch, sizes)

    def normalize(self, images: Tensor) -> Tensor:
        """Normalize RGB pixels [..., 3, h, w], in the channel order of the weights."""
        images = images.flip(-3) if self.reverses_channels else images
        return (images - self.mean) / self.std

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of a batch whose largest height and width are given."""
        fitting = [(h, w) for h, w in self.fixed_sizes if h >= height and w >= width]
        if fitting:
            return min(fitting, key=math.prod)
        multiple = self.size_divisibility
        return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def size_of(image: Tensor) -> tuple[int, int]:
    """Return height and width of an image [3, H, W]."""
    return image.shape[1], image.shape[2]


@not_compiled(recursive=True)
def check_images(images: Sequence[Tensor]) -> list[Tensor]:
    """Return the images of a call as a list; ValueError if they cannot be used.

    They are a list of tensors [3, h, w], or one tensor [N, 3, h, w].
    """
    for index, image in enumerate(images := list_images(images)):
        _require_image(image, index)
    return images


@not_compiled(recursive=True)
def list_images(images: Sequence[Tensor]) -> list[Tensor]:
    """Return what is given as a list, or raise ValueError if it is no list of images."""
    given = _describe(images)
    if isinstance(images, Tensor) and images.ndim != 4:
        raise ValueError(
            f"a detector takes a list of images, not {given}; write model([image]) for one image"
        )
    if not isinstance(images, Sequence | Tensor) or isinstance(images, str | bytes):
        raise ValueError(
            f"a detector takes a list of images, uint8 tensors [3, h, w] in RGB, not {given}; "
            "a Predictor takes paths and arrays"
        )
    return list(images)


def _require_image(image: Tensor, index: int) -> None:
    if not isinstance(image, Tensor):
        raise ValueError(
            f"images[{index}] is {_describe(image)}, but a detector takes uint8 tensors [3, h, w] "
            "in RGB; a Predictor takes paths and arrays"
        )
    fits = image.ndim == 3 and image.shape[0] == 3 and image.numel() > 0
    if not fits or image.is_complex() or image.dtype == torch.bool:
        raise ValueError(
            f"images[{index}] is {_describe(image)}, but a detector takes uint8 tensors "
            "[3, h, w] in RGB"
        )
    if image.is_floating_point() and not image.is_meta:
        low, high = (float(limit) for limit in image.detach().aminmax())
        if not _are_pixels(image, low, high):
            raise ValueError(
                f"images[{index}] has values from {low:.3g} to {high:.3g}, but a detector takes "
                "pixels in 0..255 and normalizes them itself; leave out scaling and normalization"
            )


def _are_pixels(image: Tensor, low: float, high: float) -> bool:
    """Whether values from `low` to `high` are in 0..255, not scaled or normalized."""
    if low < 0:
        return low >= -OVERSHOOT * high and NORMALIZED <= high <= (1 + OVERSHOOT) * MAX_VALUE
    if high <= 1:  # integers are of a dark image
        return low >= 0 and bool((image == image.round()).all())
    return low >= 0 and high <= (1 + OVERSHOOT) * MAX_VALUE


def _describe(value: object) -> str:
    kind = type(value).__name__
    if not isinstance(value, Tensor):
        return f"of type {kind}" if isinstance(value, Sequence) else f"a {kind}"
    return f"{value.dtype} {list(value.shape)}".removeprefix("torch.")


def check_targets(
    images: Sequence[Tensor],
    targets: Sequence[Target] | None,
    device: torch.device,
    *,
    num_classes: int,
    masks: bool,
) -> list[Target]:
    """Check the ground truth for training, and copy it to a device.

    Raises:
        ValueError: there are no images, or a target is missing, or its labels do not fit, or its
            masks are missing or have the wrong size.
    """
    if not images:
        raise ValueError("training needs images: the batch is empty")
    if targets is None or len(targets) != len(images):
        given = "none" if targets is None else str(len(targets))
        raise ValueError(
            f"training needs one target per image: {len(images)} images, {given} given"
        )
    checked: list[Target] = []
    later = can_copy_later(device)
    for index, (image, target) in enumerate(zip(images, targets, strict=True)):
        boxes = target["boxes"].to(device, torch.float32, non_blocking=later).reshape(-1, 4)
        _require_labels(target["labels"], len(boxes), num_classes, index)
        labels = target["labels"].to(device, torch.int64, non_blocking=later)
        checked.append({"boxes": boxes, "labels": labels})
        if "unknown" in target:
            checked[-1]["unknown"] = target["unknown"].to(device, non_blocking=later)
        if "uncertain" in target:
            checked[-1]["uncertain"] = target["uncertain"].to(device, non_blocking=later)
        if masks:
            own = _masks_of(target, image)
            checked[-1]["masks"] = own.to(device, torch.bool, non_blocking=later)
    return checked


def _require_labels(labels: Tensor, count: int, num_classes: int, index: int) -> None:
    """Raise ValueError if there is not a label of a class for each of `count` objects.

    Background would be learned from the label C. On an accelerator, reading labels would wait.
    """
    if labels.shape != (count,):
        raise ValueError(
            f"targets[{index}] has {count} boxes, and labels {list(labels.shape)}; give one label "
            "for each box"
        )
    if count and is_synchronous(labels.device):
        low, high = (int(limit) for limit in labels.aminmax())
        if low < 0 or high >= num_classes:
            raise ValueError(
                f"targets[{index}] has labels from {low} to {high}, but those of {num_classes} "
                f"classes are 0 to {num_classes - 1}, without a label of background"
            )


def _masks_of(target: Target, image: Tensor) -> Tensor:  # [G, H, W]
    expected = (len(target["boxes"]), *image.shape[1:])
    if "masks" not in target:
        raise ValueError(
            f"the model has a mask head: training needs 'masks' {list(expected)} in every target"
        )
    if target["masks"].shape != expected:
        raise ValueError(
            f"masks of an image must be {list(expected)}, not {list(target['masks'].shape)}"
        )
    return target["masks"]


def pad_target(target: Target, size: tuple[int, int]) -> Target:
    """Pad ground truth to a multiple of PADDED_OBJECTS, and masks to `size` (h, w)."""
    count = len(target["boxes"])
    missing = -count % PADDED_OBJECTS if count else PADDED_OBJECTS
    padded: Target = {
        "boxes": pad(target["boxes"], (0, 0, 0, missing)),
        "labels": pad(target["labels"], (0, missing)),
        "valid": torch.arange(count + missing, device=target["boxes"].device) < count,
    }
    if "unknown" in target:
        padded["unknown"] = target["unknown"]
    if "uncertain" in target:
        padded["uncertain"] = pad(target["uncertain"], (0, missing))
    if "masks" in target:
        height, width = target["masks"].shape[1:]
        padded["masks"] = pad(
            target["masks"], (0, size[1] - width, 0, size[0] - height, 0, missing)
        )
    return padded
