"""Resizing of images to the test size, inside an exported graph.

`images/resize.py` computes the same sizes for images in memory. Here they depend on the content of
tensors, so that one graph serves images of all sizes.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from centernet2.images.resize import make_test_resize
from centernet2.structures import TestSize

WEIGHT_LIMIT = 2**15  # PyTorch's weights are whole numbers below it, over a power of 2
MAX_MULTIPLE = 4096  # height and width in multiples of the divisor: a bound for the tracer


class Resized(NamedTuple):
    """A batch of images at the test size of a detector."""

    images: Tensor  # [N, 3, h, w] of whole numbers, 0 to 255
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
        images = resize_pixels(images, h, w)
    else:
        torch._check(h == height)
        torch._check(w == width)
    return Resized(images, padding, size.float(), given.float())


def resize_pixels(images: Tensor, h: int, w: int) -> Tensor:
    """Resize uint8 images [N, 3, H, W] with smoothing, to PyTorch's pixels in float32.

    Runtimes round in other ways, by 1 of 255 in 1 % of the pixels of a photograph, which moves the
    boxes of a trained detector. Matrix products of whole numbers are exact.
    """
    height, width = images.shape[2:]
    for resized, length, axis in ((w, width, 3), (h, height, 2)):
        if isinstance(resized, int) and resized == length:
            continue
        weights = _weights(images, length, resized)
        pixels = images.float()
        pixels = pixels @ weights.T if axis == 3 else weights @ pixels
        images = (pixels + 0.5).floor()
    return images.float()


def _weights(images: Tensor, length: int, resized: int) -> Tensor:
    """Return the weights [resized, length] of pixels in the pixels of a resized axis.

    For fixed lengths they are a constant of the graph.
    """
    if isinstance(length, int) and isinstance(resized, int):
        weights = smoothing_weights(np, length / resized, length, resized)
        return torch.from_numpy(weights.astype(np.float32))
    scale = _scalar(images, length) / _scalar(images, resized)
    return smoothing_weights(torch, scale, length, resized).float()


def smoothing_weights(xp: Any, scale: Any, length: int, resized: int) -> Any:
    """Compute the weights by which PyTorch resizes uint8 pixels, [resized, length].

    They are triangles, rounded to a multiple of a power of 2.

    Source: `_compute_index_ranges_int16_weights` of ATen/native/cpu/UpSampleKernel.cpp.

    Args:
        xp: NumPy or PyTorch.
        scale: length / resized in float64.
    """
    centers = (xp.arange(resized, dtype=xp.float64)[:, None] + 0.5) * scale
    offsets = xp.abs(xp.arange(length, dtype=xp.float64) + 0.5 - centers)
    triangles = xp.clip(1 - offsets / xp.clip(scale, 1, None), 0, None)
    weights = triangles / triangles.sum(axis=1, keepdims=True)
    units = 2.0 ** xp.arange(1, 23, dtype=xp.float64)
    fits = xp.floor(0.5 + weights.max() * units) < WEIGHT_LIMIT
    unit = xp.where(fits, units, 1.0).max()
    return xp.floor(0.5 + weights * unit) / unit


def _symbolic_size(size: Tensor, divisor: int) -> tuple[int, int, tuple[int, int]]:
    """Return height, width and padding of a size [2] as symbols with their limits."""
    multiples = (size + divisor - 1) // divisor
    h, w, rows, columns = torch.cat([size, multiples]).long().tolist()
    for length, multiple in ((h, rows), (w, columns)):
        torch._check(length >= 1)
        torch._check(multiple >= 1)
        torch._check(multiple <= MAX_MULTIPLE)
        torch._check(length <= multiple * divisor)
    return h, w, (rows * divisor - h, columns * divisor - w)


def resized_size(size: Tensor, test_size: TestSize) -> Tensor:
    """Compute the test size [2] int64 of an image size [2] float64, height and width.

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
