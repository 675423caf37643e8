"""Resizing that keeps the aspect ratio, and the transforms of evaluation.

The size at which a detector tests images is TestSize, in the ModelInfo of the model. `test_size_of`
in builders/data_pipeline.py reads it from the config; `make_test_resize` makes the transform.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

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
    resized: Tensor = F.resize(image, [height, width], InterpolationMode.BILINEAR, antialias=True)
    return resized
