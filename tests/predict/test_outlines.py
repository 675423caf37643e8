"""Outlines: a polygon that is filled again gives the mask."""

import numpy as np
import pytest

from centernet2.predict.outlines import outline


def fill(polygon: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels [H, W] whose center is inside: an odd number of edges are left of it."""
    rows, columns = (np.arange(side) + 0.5 for side in size)
    inside = np.zeros(size, dtype=bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        crossed = (min(y0, y1) < rows) & (rows < max(y0, y1))  # [H]
        place = x0 + (rows - y0) * (x1 - x0) / (y1 - y0 or 1)
        inside ^= crossed[:, None] & (place[:, None] < columns)
    return inside


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
def test_filled_outline_is_the_mask(share: float) -> None:
    """Pieces, holes and pixels that touch at a corner."""
    mask = np.random.default_rng(0).random((23, 31)) < share
    assert np.array_equal(fill(outline(mask), mask.shape), mask)


def test_rectangle_has_four_corners() -> None:
    mask = np.zeros((9, 12), dtype=bool)
    mask[2:5, 3:11] = True
    assert outline(mask).tolist() == [[3, 2], [11, 2], [11, 5], [3, 5]]


def test_masks_at_the_border_and_empty_ones() -> None:
    assert outline(np.ones((2, 3), dtype=bool)).tolist() == [[0, 0], [3, 0], [3, 2], [0, 2]]
    assert outline(np.zeros((2, 3), dtype=bool)).shape == (0, 2)
