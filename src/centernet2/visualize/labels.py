"""Labels of boxes: where they are placed, and how they are drawn."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import ImageDraw, ImageFont

from centernet2.structures import FloatArray
from centernet2.visualize.colors import Color, text_color

Rectangle = tuple[int, int, int, int]  # left, top, right, bottom

MAX_COVERED = 0.25  # maximum fraction of the image under labels
# costs of a covered pixel: of another label, of the label's own object, of other objects
LABEL_COST, OWN_COST, OTHER_COST = 8.0, 2.0, 1.0


class Style(NamedTuple):
    """Line width, font size and padding for an image, in pixels."""

    line: int
    font: int
    padding: int


class Label(NamedTuple):
    """A text in a filled rectangle."""

    text: str
    rectangle: Rectangle
    color: Color


def style_for(width: int, height: int) -> Style:
    """Return sizes of lines and letters, which grow sublinearly with the image."""
    side = math.sqrt(width * height)
    font = max(10, round(0.4 * side**0.55))
    line = max(2, round(0.016 * side**0.78))
    return Style(line, font, padding=max(1, round(font / 5)))


def place_labels(
    texts: Sequence[str],
    boxes: Sequence[Rectangle],
    colors: Sequence[Color],
    size: tuple[int, int],
    font: ImageFont.FreeTypeFont,
    padding: int,
) -> list[Label]:
    """Place each label at its box, inside the image, where it covers least.

    The labels of the first boxes are placed first, and drawn on top. A label is left out if its
    letters would be hidden by others, or if labels already hide much of the image. The color of the
    box still shows the class.

    Args:
        texts, boxes, colors: of each object, the best first.
        size: (width, height) of the image.
        padding: around a text, in pixels.
    """
    height = round(font.size) + 2 * padding
    objects = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    placed: list[Label] = []
    room = MAX_COVERED * size[0] * size[1]  # in pixels
    for row, (text, color) in enumerate(zip(texts, colors, strict=True)):
        width = math.ceil(font.getlength(text)) + 2 * padding
        if width > size[0] or height > size[1] or width * height > room:
            continue
        places = _places(boxes[row], width, height, size)  # [P, 4]
        taken = np.array([label.rectangle for label in placed], dtype=np.float64).reshape(-1, 4)
        hidden = _covered_pixels(places, taken).sum(axis=1)  # [P] of other labels
        covered = _covered_pixels(places, objects)  # [P, D]
        cost = LABEL_COST * hidden + (OWN_COST - OTHER_COST) * covered[:, row]
        letters = places + np.array([1, 1, -1, -1]) * padding
        cost[_covered_pixels(letters, taken).any(axis=1)] = math.inf
        best = int((cost + OTHER_COST * covered.sum(axis=1)).argmin())  # the first of the best
        if math.isinf(cost[best]):
            continue
        room -= width * height
        left, top, right, bottom = places[best].astype(int).tolist()
        placed.append(Label(text, (left, top, right, bottom), color))
    return placed


def _places(box: Rectangle, width: int, height: int, size: tuple[int, int]) -> FloatArray:
    """Return rectangles [P, 4] by preference: above, below, beside, inside the box."""
    left, top, right, bottom = box
    after, under = right + 1, bottom + 1  # the box includes its last pixels
    columns, rows = (left, after - width), (top, under - height)  # in line with two sides each
    above_and_below = [(x, y) for y in (top - height, under) for x in columns]
    beside = [(x, y) for y in rows for x in (after, left - width)]
    inside = [(x, y) for y in rows for x in columns]
    corners = [*above_and_below, *beside, *inside]
    x, y = np.array(corners, dtype=np.float64).T
    x, y = np.clip(x, 0, size[0] - width), np.clip(y, 0, size[1] - height)
    return np.stack([x, y, x + width, y + height], axis=1)


def _covered_pixels(places: FloatArray, others: FloatArray) -> FloatArray:  # [P, others]
    """Count the pixels of each other rectangle that each place covers."""
    low = np.maximum(places[:, None, :2], others[None, :, :2])  # [P, others, 2]
    high = np.minimum(places[:, None, 2:], others[None, :, 2:])
    covered: FloatArray = np.clip(high - low, 0, None).prod(axis=2)
    return covered


def draw_label(
    pen: ImageDraw.ImageDraw, label: Label, font: ImageFont.FreeTypeFont, padding: int
) -> None:
    """Draw the text of a label, in black or white, in its filled rectangle."""
    left, top, right, bottom = label.rectangle
    pen.rounded_rectangle((left, top, right - 1, bottom - 1), radius=padding, fill=label.color)
    middle = (left + padding, (top + bottom) / 2)
    pen.text(middle, label.text, fill=text_color(label.color), font=font, anchor="lm")
