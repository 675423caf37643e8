"""Tell the form and unit of a file's boxes: sizes or corners, pixels or shares."""

from typing import Any

import numpy as np
import numpy.typing as npt

from centernet2.structures import BoolArray, FloatArray

CORNERS_OUTSIDE = 0.25  # share of boxes beyond their images that shows corners, not width, height
SHARE_RANGE = (-0.05, 1.05)  # of shares; they may exceed the image a little


def are_corners(xywh: FloatArray, sizes: npt.NDArray[np.integer[Any]]) -> bool:
    """Whether boxes that should be [x, y, width, height] are [x1, y1, x2, y2].

    They are if all of them are valid as corners, and many exceed their images if read as width and
    height. `sizes` [B, 2] holds the (height, width) of each box's image.
    """
    if not len(xywh):
        return False
    limits = sizes[:, ::-1] + 1
    good_corners = (xywh[:, 2:] > xywh[:, :2]) & (xywh[:, :2] >= -1) & (xywh[:, 2:] <= limits)
    outside = (xywh[:, :2] + xywh[:, 2:] > limits).any(axis=1)
    return bool(good_corners.all() and outside.mean() >= CORNERS_OUTSIDE)


def rows_in_shares(xywh: FloatArray, sizes: npt.NDArray[np.integer[Any]]) -> BoolArray:
    """Return which boxes [B, 4] are shares of the image's sides in place of pixels.

    They are if half of all boxes or more lie in the first pixel of their image and some have sides
    below a pixel. `sizes` [B, 2] are those of the images.
    """
    low, high = SHARE_RANGE
    with np.errstate(invalid="ignore"):
        numbers = np.all((xywh >= low) & (xywh <= high), axis=1)
        inside: BoolArray = numbers & np.all(sizes > 2, axis=1) & np.all(xywh[:, 2:] > 0, axis=1)
    has_fractions = bool((xywh[inside, 2:] < 1).any())
    if has_fractions and is_unit_of(int(inside.sum()), len(inside)):
        return inside
    return np.zeros(len(xywh), dtype=bool)


def is_unit_of(count: int, total: int) -> bool:
    """Whether `count` objects show the unit of all; one among others may be a slip."""
    return 2 * count >= total and (count > 1 or count == total > 0)
