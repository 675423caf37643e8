"""Masks as NumPy arrays, pasted and stretched as in `ops.masks`, without PyTorch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
LEAST_EXTENT = np.float32(1e-6)  # pixels, of a box whose mask is stretched


def paste_grids(masks: Floats, boxes: Floats, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Paste masks [D, M, M] at boxes [D, 4] into an image of `size`: [D, H, W].

    A pixel is set if the bilinearly interpolated probability reaches 0.5. Only pixels inside boxes
    are computed.
    """
    height, width = size
    pasted = np.zeros((len(masks), height, width), dtype=bool)
    limit = np.array([width, height])
    low = np.minimum(np.maximum(np.floor(boxes[:, :2]), 0), limit)
    high = np.maximum(np.minimum(np.ceil(boxes[:, 2:]), limit), low)
    windows = np.concatenate([low, high], axis=1).astype(int).tolist()
    for i, (left, top, right, bottom) in enumerate(windows):
        inside = stretch_grids(masks[i, None], boxes[i, None], (top, bottom), (left, right))
        pasted[i, top:bottom, left:right] = inside[0] >= 0.5
    return pasted


class PastedMasks(Sequence[NDArray[np.bool_]]):
    """Masks [H, W] of objects, each of which is pasted when it is asked for.

    Args:
        masks: [D, M, M] in the grid of their box.
        boxes: [D, 4] in pixels of the image.
        size: height and width of the image.
    """

    def __init__(self, masks: Floats, boxes: Floats, size: tuple[int, int]) -> None:
        self._masks, self._boxes, self._size = masks, boxes, size

    def __len__(self) -> int:
        return len(self._masks)

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return PastedMasks(self._masks[row], self._boxes[row], self._size)
        return paste_grids(self._masks[row][None], self._boxes[row][None], self._size)[0]


def stretch_grids(
    masks: Floats, boxes: Floats, rows: tuple[int, int], columns: tuple[int, int]
) -> Floats:
    """Interpolate masks [D, M, M] at pixels of rows and columns: [D, rows, columns].

    Bilinear interpolation, with zeros around the mask, is separable: two matrix products.
    """
    vertical = _weights(boxes[:, 1], boxes[:, 3], rows, masks.shape[1])  # [D, rows, M]
    horizontal = _weights(boxes[:, 0], boxes[:, 2], columns, masks.shape[2])  # [D, columns, M]
    stretched: Floats = vertical @ masks @ horizontal.transpose(0, 2, 1)
    return stretched


def _weights(low: Floats, high: Floats, pixels: tuple[int, int], cells: int) -> Floats:
    """Compute bilinear weights [D, pixels, cells] for boxes from `low` to `high` [D]."""
    center = np.arange(*pixels, dtype=np.float32) + np.float32(0.5)  # [pixels]
    extent = np.maximum(high - low, LEAST_EXTENT)[:, None]
    position = (center - low[:, None]) / extent * np.float32(cells) - np.float32(0.5)  # in cells
    distance = np.abs(position[..., None] - np.arange(cells, dtype=np.float32))
    weights: Floats = np.maximum(1 - distance, 0)
    return weights
