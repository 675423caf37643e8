"""Grids of pictures with captions."""

import numpy as np
import pytest

from centernet2.visualize import picture_grid
from tests.helpers.drawing import count_pixels


def test_picture_grid() -> None:
    images = [np.full((h, w, 3), 40, np.uint8) for h, w in ((50, 100), (100, 50), (4, 4))]
    grid = picture_grid(
        images,
        ["a", "a caption that is far too long for its picture " * 3, "c"],
        columns=2,
        cell=100,
    )
    assert grid.dtype == np.uint8 and 200 < grid.shape[1] < 240
    assert count_pixels(grid, (40, 40, 40)) >= 50 * 100 + 100 * 50 + 100 * 100
    assert (grid[:, -6:] == 255).all(), "a caption leaves its column"
    wrapped = picture_grid(images[:1], ["two\nlines"])  # of a class or a file
    assert np.array_equal(wrapped, picture_grid(images[:1], ["two lines"]))
    with pytest.raises(ValueError, match="one caption each: 3 and 1"):
        picture_grid(images, ["a"])
