"""Resizing of images to the test size, inside an exported graph.

`images/resize.py` computes the same sizes for images in memory. Here they depend on the content of
tensors, so that one graph serves images of all sizes.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from centernet2.images.resize import make_test_resize
from centernet2.structures import TestSize

MAX_MULTIPLE = 4096  # height and width in multiples of the divisor: a bound for the tracer


class Resized(NamedTuple):
    """A batch of images at the test size of a detector."""

    images: Tensor  # uint8 [N, 3, h, w]
    padding: tuple[int, int]  # rows below and columns at the right, to multiples of the divisor
    size: Tensor  # [2] height and width of the resized images
    given_size: Tensor  # [2] of the given images


def resize(images: Tensor, test_size: TestSize, divisor: int) -> Resized:
    """Resize images, uint8 [N, 3, H, W], to the test size."""
    height, width = images.shape[2:]
    given = torch.stack([_scalar(images, side) for side in (height, width)])
    if isinstance(height, int) and isinstance(width, int):
        h, w = make_test_resize(test_size).output_size(height, width)
        size = torch.stack([_scalar(images, side) for side in (h, w)])
        padding = (-h % divisor, -w % divisor)
    else:
        size = resized_size(given, test_size)
        h, w, padding = _symbolic_size(size, divisor)
    if test_size.length:
        images = F.interpolate(images, (h, w), mode="bilinear", antialias=True)
    else:
        torch._check(h == height)
        torch._check(w == width)
    return Resized(images, padding, size.float(), given.float())


def _symbolic_size(size: Tensor, divisor: int) -> tuple[int, int, tuple[int, int]]:
    """Return height, width and padding of a size [2] as symbols, and what is known of them."""
    multiples = (size + divisor - 1) // divisor
    h, w, rows, columns = torch.cat([size, multiples]).long().tolist()
    for length, multiple in ((h, rows), (w, columns)):
        torch._check(length >= 1)
        torch._check(multiple >= 1)
        torch._check(multiple <= MAX_MULTIPLE)
        torch._check(length <= multiple * divisor)
    return h, w, (rows * divisor - h, columns * divisor - w)


def resized_size(size: Tensor, test_size: TestSize) -> Tensor:
    """Compute the test size [2] int64 of images of a size [2] float64, height and width.

    float64, with divisions of tensors, as Python computes: otherwise some sizes differ by a pixel.
    """
    if test_size.length == 0:
        return size.long()
    length, limit = (size.new_full((), n) for n in (test_size.length, test_size.max_size))
    if test_size.fit == "square":
        return (size * (length / size).min()).long().clamp(min=1)
    shorter = size.min()
    # the shorter edge is set, not multiplied: the product may be rounded
    resized = torch.where(size == shorter, length, length / shorter * size)
    longest = resized.max()
    resized = torch.where(longest > limit, resized * (limit / longest), resized)
    return (resized + 0.5).long().clamp(min=1)


def _scalar(like: Tensor, value: int) -> Tensor:
    return torch.full((), value, dtype=torch.float64, device=like.device)
