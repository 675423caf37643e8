"""Resizing that keeps the aspect ratio, and the transforms of evaluation.

The size at which a detector tests images is TestSize, in the ModelInfo of the model. `test_size_of`
in builders/data/data_pipeline.py reads it from the config; `make_test_resize` makes the transform.
"""

import platform
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from centernet2.images.stored_image import StoredImage
from centernet2.structures import TestSize


class EvalTransform(Protocol):
    """Transform that resizes an image to the test size of a detector."""

    def __call__(self, image: Tensor) -> Tensor: ...

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the resized image."""
        ...


@dataclass(frozen=True, kw_only=True)
class FitShortestEdge:
    """Resize the shorter edge to a length, with a limit on the longer edge."""

    length: int  # 0: images are not resized
    max_size: int

    def __call__(self, image: Tensor) -> Tensor:
        if self.length == 0:
            return image
        return resize_image(image, *self.output_size(*image.shape[1:]))

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        if self.length == 0:
            return height, width
        return shortest_edge_size(height, width, length=self.length, max_size=self.max_size)


@dataclass(frozen=True, kw_only=True)
class FitSquare:
    """Resize the longer edge to the side of a square."""

    size: int

    def __call__(self, image: Tensor) -> Tensor:
        return resize_image(image, *self.output_size(*image.shape[1:]))

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        return fit_square(height, width, size=self.size)[:2]


def make_test_resize(size: TestSize) -> EvalTransform:
    """Return the transform that resizes an image to a test size."""
    if size.fit == "square":
        return FitSquare(size=size.length)
    return FitShortestEdge(length=size.length, max_size=size.max_size)


def shortest_edge_size(height: int, width: int, *, length: int, max_size: int) -> tuple[int, int]:
    """Compute height and width from the shorter edge and a limit on the longer."""
    scale = length / min(height, width)
    new_height, new_width = (length, scale * width) if height < width else (scale * height, length)
    longest = max(new_height, new_width)
    if longest > max_size:
        new_height, new_width = new_height * (max_size / longest), new_width * (max_size / longest)
    return max(1, int(new_height + 0.5)), max(1, int(new_width + 0.5))


def fit_square(height: int, width: int, *, size: float) -> tuple[int, int, float]:
    """Compute height and width of an image fitted into a square, and the scale."""
    scale = min(size / height, size / width)
    return max(1, int(height * scale)), max(1, int(width * scale)), scale


def resize_image(image: Tensor | StoredImage, height: int, width: int) -> Tensor:
    """Resize an image to [3, height, width]; a StoredImage is decoded for that size."""
    if isinstance(image, StoredImage):
        image = image.decode_for_size(height, width)
    if image.shape[1:] == (height, width):
        return image
    return _interpolate(image, (height, width))


def _interpolate(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate an image [3, H, W] as torchvision does, which is slow to import."""
    is_native = image.dtype in (torch.float32, torch.float64) or (
        image.dtype == torch.uint8 and _interpolates_uint8(image.device)
    )
    x = (image if is_native else image.float())[None]
    if x.is_contiguous(memory_format=torch.channels_last):
        x = x.as_strided(x.shape, (x.numel(), *x.stride()[1:]))  # the result keeps the format
    resized = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)[0]
    if is_native:
        return resized
    return (resized if image.is_floating_point() else resized.round_()).to(image.dtype)


def _interpolates_uint8(device: torch.device) -> bool:
    """Whether interpolation of uint8 is faster than in float32."""
    return device.type == "cpu" and (
        torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
        or platform.machine() in ("aarch64", "arm64")
    )
