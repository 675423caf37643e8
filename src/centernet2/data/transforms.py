"""Augmentation of one uint8 image, with its boxes and masks.

A transform holds its parameters; all random numbers come from the generator passed to the call.

To add one, write a frozen dataclass that is called as a Transform below. Add its options to
AugmentationOptions, their keys to config/data_keys.py, the class to data/__init__.py, and a step to
build_train_transform in builders/data/data_pipeline.py. An augmentation that combines several
images is a Mixer in data/mixing.py and a part of build_mixing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from centernet2.data.geometry import (
    clip_and_drop_empty,
    crop_image,
    crop_target,
    flip_target,
    resize_target,
)
from centernet2.images.resize import fit_square, resize_image, shortest_edge_size
from centernet2.images.stored_image import StoredImage
from centernet2.structures import Target

Sample = tuple[Tensor, Target]  # uint8 [3, H, W] and its objects
Transform = Callable[[Tensor, Target, Generator], Sample]

GRAY = 114  # value of the background, as in YOLO's training


@dataclass(frozen=True)
class AugmentationOptions:
    """Resizing and augmentation."""

    custom_aug: str = ""
    min_size_train: tuple[int, ...] = (800,)
    min_size_train_sampling: str = "choice"
    max_size_train: int = 1333
    min_size_test: int = 800
    max_size_test: int = 1333
    mosaic: float = 0.0
    mosaic_size: int = 640
    mixup: float = 0.0
    copy_paste: float = 0.0
    photometric_distortion: bool = False
    random_flip: str = "horizontal"
    crop_enabled: bool = False
    crop_type: str = "relative_range"
    crop_size: tuple[float, ...] = (0.9, 0.9)
    train_size: int = 640
    scale_range: tuple[float, ...] = (0.1, 2.0)
    test_input_type: str = "default"
    test_size: int = 640
    static_shapes: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainTransform:
    """Apply steps in turn, then draw masks, clip boxes and drop empty objects.

    If the first step resizes, it also decodes the image file, at a reduced size if that is enough.
    """

    steps: tuple[Transform, ...]

    def __call__(self, image: Tensor | StoredImage, target: Target, generator: Generator) -> Sample:
        steps = self.steps
        if isinstance(image, StoredImage):
            if steps and isinstance(
                steps[0], ResizeShortestEdge | EfficientDetResizeCrop | LargeScaleJitter
            ):
                image, target = steps[0](image, target, generator)
                steps = steps[1:]
            else:
                image = image.decode()
        for step in steps:
            image, target = step(image, target, generator)
        return image.contiguous(), clip_and_drop_empty(
            target, height=image.shape[1], width=image.shape[2]
        )

    def for_batch(self, generator: Generator) -> "TrainTransform":
        """Draw what all images of a batch have in common."""
        return replace(
            self,
            steps=tuple(
                step.for_batch(generator) if isinstance(step, ResizeShortestEdge) else step
                for step in self.steps
            ),
        )


@dataclass(frozen=True, kw_only=True)
class ResizeShortestEdge:
    """Resize the shorter edge to a random length, with a limit on the longer edge."""

    lengths: tuple[int, ...]  # choices, or the two ends of a range
    max_size: int
    sampling: Literal["choice", "range", "batch"]  # batch: one choice for all images of a batch

    def __post_init__(self) -> None:
        if self.sampling == "range" and len(self.lengths) != 2:
            raise ValueError(
                "a range of shortest edges needs two lengths (INPUT.MIN_SIZE_TRAIN), "
                f"not {self.lengths}"
            )
        if self.sampling == "range" and self.lengths[0] > self.lengths[1]:
            raise ValueError(
                f"a range of shortest edges (INPUT.MIN_SIZE_TRAIN) is {self.lengths}; give the "
                "shorter one first"
            )

    def __call__(self, image: Tensor | StoredImage, target: Target, generator: Generator) -> Sample:
        if self.sampling == "range":
            length = random_integer(self.lengths[0], self.lengths[1], generator)
        else:
            length = self._choice(generator)
        height, width = shortest_edge_size(*image.shape[1:], length=length, max_size=self.max_size)
        scale = (width / image.shape[2], height / image.shape[1])
        return resize_image(image, height, width), resize_target(target, height, width, scale=scale)

    def for_batch(self, generator: Generator) -> "ResizeShortestEdge":
        """Draw the length if a batch has one: then hardly anything of it is padding."""
        if self.sampling != "batch":
            return self
        return replace(self, lengths=(self._choice(generator),), sampling="choice")

    def _choice(self, generator: Generator) -> int:
        return self.lengths[random_integer(0, len(self.lengths) - 1, generator)]


@dataclass(frozen=True, kw_only=True)
class EfficientDetResizeCrop:
    """Fit the image into a square of random scale, then crop to the square of scale 1.

    EfficientDet, https://arxiv.org/abs/1911.09070, section 5.1.
    """

    size: int
    scale_range: tuple[float, float]

    def __call__(self, image: Tensor | StoredImage, target: Target, generator: Generator) -> Sample:
        scaled_size = random_number(*self.scale_range, generator) * self.size
        height, width, scale = fit_square(*image.shape[1:], size=scaled_size)
        image = resize_image(image, height, width)
        target = resize_target(target, height, width, scale=(scale, scale))
        top = int(max(0, height - self.size) * random_number(0, 1, generator))
        left = int(max(0, width - self.size) * random_number(0, 1, generator))
        box = (top, left, min(self.size, height), min(self.size, width))
        return crop_image(image, box), crop_target(target, box)


@dataclass(frozen=True, kw_only=True)
class LargeScaleJitter:
    """Resize and crop as `EfficientDetResizeCrop`, then pad to the square with gray.

    Copy-paste, https://arxiv.org/abs/2012.07177, section 3.
    """

    size: int
    scale_range: tuple[float, float]

    def __call__(self, image: Tensor | StoredImage, target: Target, generator: Generator) -> Sample:
        crop = EfficientDetResizeCrop(size=self.size, scale_range=self.scale_range)
        image, target = crop(image, target, generator)
        bottom, right = self.size - image.shape[1], self.size - image.shape[2]
        if "masks" in target:
            target = {**target, "masks": pad(target["masks"], (0, right, 0, bottom))}
        return pad(image, (0, right, 0, bottom), value=GRAY), target


@dataclass(frozen=True, kw_only=True)
class PhotometricDistortion:
    """Change brightness, contrast, saturation and hue, each with some probability.

    SSD, https://arxiv.org/abs/1512.02325, section 2.2.
    """

    brightness: float = 0.125  # largest change, as a share of white
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: float = 0.05  # largest rotation, as a share of the circle
    probability: float = 0.5

    def __post_init__(self) -> None:
        import torchvision.transforms.v2  # noqa: F401  # before workers start: they share it

    def __call__(self, image: Tensor, target: Target, generator: Generator) -> Sample:
        from torchvision.transforms.v2 import functional as F  # for training alone: it takes long

        def happens() -> bool:
            return random_number(0, 1, generator) < self.probability

        if happens():
            change = 255 * random_number(-self.brightness, self.brightness, generator)
            image = (image.float() + change).clamp(0, 255).round().to(torch.uint8)
        contrast_first = happens()
        if contrast_first and happens():
            image = F.adjust_contrast(image, random_number(*self.contrast, generator))
        if happens():
            image = F.adjust_saturation(image, random_number(*self.saturation, generator))
        if happens():
            image = F.adjust_hue(image, random_number(-self.hue, self.hue, generator))
        if not contrast_first and happens():
            image = F.adjust_contrast(image, random_number(*self.contrast, generator))
        return image, target


@dataclass(frozen=True, kw_only=True)
class RandomCrop:
    """Crop at a random position; `size` is (height, width), or for ranges (min, max)."""

    kind: Literal["relative", "relative_range", "absolute", "absolute_range"]
    size: tuple[float, float]

    def __post_init__(self) -> None:
        if self.kind.startswith("relative"):
            fits, wanted = max(self.size) <= 1, "fractions of the image, up to 1"
        else:
            fits, wanted = min(self.size) >= 1, "pixels, from 1"
        if not fits:
            raise ValueError(
                f"the {self.kind} crop has the size {self.size} (INPUT.CROP.SIZE); give {wanted}"
            )
        if self.kind == "absolute_range" and self.size[0] > self.size[1]:
            raise ValueError(
                f"the range of crops is {self.size} (INPUT.CROP.SIZE); give the smaller one first"
            )

    def __call__(self, image: Tensor, target: Target, generator: Generator) -> Sample:
        height, width = self._crop_size(image.shape[1], image.shape[2], generator)
        top = random_integer(0, image.shape[1] - height, generator)
        left = random_integer(0, image.shape[2] - width, generator)
        box = (top, left, height, width)
        return crop_image(image, box), crop_target(target, box)

    def _crop_size(self, height: int, width: int, generator: Generator) -> tuple[int, int]:
        first, second = self.size
        if self.kind == "absolute":
            return min(int(first), height), min(int(second), width)
        if self.kind == "absolute_range":
            low, high = int(first), int(second)
            crop_height = random_integer(min(height, low), min(height, high), generator)
            return crop_height, random_integer(min(width, low), min(width, high), generator)
        if self.kind == "relative_range":
            first = random_number(first, 1, generator)
            second = random_number(second, 1, generator)
        return max(1, int(height * first + 0.5)), max(1, int(width * second + 0.5))


@dataclass(frozen=True, kw_only=True)
class RandomFlip:
    """Flip the image with some probability."""

    direction: Literal["horizontal", "vertical"]
    probability: float = 0.5

    def __call__(self, image: Tensor, target: Target, generator: Generator) -> Sample:
        if random_number(0, 1, generator) >= self.probability:
            return image, target
        axis: Literal[-1, -2] = -1 if self.direction == "horizontal" else -2
        return image.flip(axis), flip_target(target, image.shape[axis], axis=axis)


def random_number(low: float, high: float, generator: Generator) -> float:
    """Draw uniformly from [low, high)."""
    return low + (high - low) * torch.rand((), dtype=torch.float64, generator=generator).item()


def random_integer(low: int, high: int, generator: Generator) -> int:
    """Draw uniformly from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))
