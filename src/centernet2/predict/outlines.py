"""The border of a mask as a polygon."""

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from centernet2.structures import BoolArray, IntArray

Corner: TypeAlias = tuple[int, int]  # x and y of a corner of a pixel


def outline(mask: BoolArray) -> IntArray:
    """Return the border of a mask [H, W] as a polygon [P, 2]: x and y of its corners.

    Pieces and holes follow each other. Each is closed and joined to the first corner by a line
    without width, so that whoever fills the polygon gets the mask.
    """
    corners: list[Corner] = []
    for loop in _loops(_edges(mask)):
        turns = [loop[0], *_turns(loop), loop[0]]
        corners += turns if not corners else [*turns, corners[0]]
    return np.array(corners[:-1], np.int64).reshape(-1, 2)


def _edges(mask: BoolArray) -> dict[Corner, list[Corner]]:
    """Return the corners that follow each border corner, with the mask on the right."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    neighbors = {  # of a pixel at x, y; the offsets of the edge on that side
        ((0, 0), (1, 0)): padded[:-2, 1:-1],  # above
        ((1, 0), (1, 1)): padded[1:-1, 2:],
        ((1, 1), (0, 1)): padded[2:, 1:-1],
        ((0, 1), (0, 0)): padded[1:-1, :-2],
    }
    following: dict[Corner, list[Corner]] = {}
    for (start, end), neighbor in neighbors.items():
        rows, columns = np.nonzero(inside & ~neighbor)
        for x, y in zip(columns.tolist(), rows.tolist(), strict=True):
            corner = (x + start[0], y + start[1])
            following.setdefault(corner, []).append((x + end[0], y + end[1]))
    return following


def _loops(following: dict[Corner, list[Corner]]) -> Iterator[list[Corner]]:
    """Yield closed ways along the edges; each edge is on one of them."""
    while following:
        loop = [next(iter(following))]
        while len(loop) == 1 or loop[-1] != loop[0]:
            ends = following[loop[-1]]
            if len(ends) == 1:
                del following[loop[-1]]
            loop.append(ends.pop())
        yield loop


def _turns(loop: list[Corner]) -> Iterator[Corner]:
    """Yield the corners between the ends of a way at which it turns."""
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(loop)]
    for corner, (before, after) in zip(loop[1:-1], pairwise(steps), strict=True):
        if before != after:
            yield corner
