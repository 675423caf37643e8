"""Tell the form and unit of boxes: corners or centers, pixels or shares."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from centernet2.structures import BoolArray, FloatArray

MANY_BEYOND = 0.25  # share of boxes beyond their images that shows another form
SHARE_RANGE = (-0.05, 1.05)  # of shares; they may exceed the image a little


def _from_corners(boxes: FloatArray) -> FloatArray:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _from_centers(boxes: FloatArray) -> FloatArray:
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)


class BoxForm(NamedTuple):
    """A form of boxes other than [x, y, width, height]."""

    name: str
    turn: Callable[[FloatArray], FloatArray]  # into [x, y, width, height]
    least: int  # boxes that do not have this form by chance

    @property
    def kind(self) -> str:
        """Kind of problem."""
        return f"boxes {self.name} in place of [x, y, width, height]"


OTHER_FORMS = (
    BoxForm("[x1, y1, x2, y2]", _from_corners, 1),
    BoxForm("[y1, x1, y2, x2]", lambda boxes: _from_corners(boxes[:, [1, 0, 3, 2]]), 20),
    BoxForm("[center x, center y, width, height]", _from_centers, 20),
)


def find_other_form(xywh: FloatArray, sizes: npt.NDArray[np.integer[Any]]) -> BoxForm | None:
    """Return the form of boxes, if it is another one than [x, y, width, height].

    It is if all of them are valid in it, and many exceed their images if read as x, y, width and
    height. `sizes` [B, 2] holds the (height, width) of each box's image.
    """
    limits = sizes[:, ::-1] + 1
    outside = (xywh[:, :2] + xywh[:, 2:] > limits).any(axis=1)
    if outside.sum() < max(1, MANY_BEYOND * len(xywh)):
        return None
    for form in OTHER_FORMS:
        low, extent = np.split(form.turn(xywh), 2, axis=1)
        fits = (extent > 0) & (low >= -1) & (low + extent <= limits)
        if len(xywh) >= form.least and fits.all():
            return form
    return None


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
