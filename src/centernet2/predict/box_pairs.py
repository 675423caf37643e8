"""Pairs of intersecting boxes of one class, without comparing all pairs.

Boxes are registered in the cells of a grid that they touch. Two boxes intersect only if they share
a cell. In NumPy, as `kernels/sparse_nms.py`.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from centernet2.ops.row_pairs import Pairs, Rows, expand_ranges
from centernet2.structures import BoolArray

Floats = NDArray[np.float32]

MAX_ENTRIES = 8  # cells per box, on average
PAIRS_AT_ONCE = 2**17  # pairs of boxes in memory at a time


class BoxGrid:
    """Grid over boxes [n, 4], n > 0, that finds those which may intersect.

    Args:
        boxes: xyxy, finite.
        labels: [n]; boxes of different labels are no pairs.
    """

    def __init__(self, boxes: Floats, labels: Rows) -> None:
        self.boxes = boxes
        low = boxes[:, :2].min(axis=0)
        sides = boxes[:, 2:] - boxes[:, :2]
        self.cell = max(1.0, 2 * float(np.median(sides)))
        while self._spans(low)[1].prod(axis=1).sum() > MAX_ENTRIES * len(boxes):
            self.cell *= 2
        first, counts = self._spans(low)  # [n, 2] of cells
        width, height = (first + counts).max(axis=0) + 1
        owner, entry = expand_ranges(np.zeros(len(boxes), np.intp), counts.prod(axis=1))
        column = first[owner, 0] + entry % counts[owner, 0]
        row = first[owner, 1] + entry // counts[owner, 0]
        self.width, self.first = int(width), first
        key = (labels[owner] * height + row) * width + column
        order = key.argsort(kind="stable")
        self.key, self.owner, self.cells = key[order], owner[order], (row * width + column)[order]

    def _spans(self, low: Floats) -> tuple[Rows, Rows]:
        """Return first cell (column, row) and number of cells of each box: [n, 2] each."""
        first = ((self.boxes[:, :2] - low) / self.cell).astype(np.intp)
        last = ((self.boxes[:, 2:] - low) / self.cell).astype(np.intp)
        return first, np.maximum(last - first, 0) + 1

    def pairs(self, queries: BoolArray, others: BoolArray) -> Iterator[Pairs]:
        """Yield pairs of a query and another box that share a cell, in parts.

        Args:
            queries, others: masks [n] of the boxes on either side. A box may be on both; then it is
                a pair with itself, and two such boxes are a pair twice.
        """
        mine, theirs = queries[self.owner], others[self.owner]
        key, owner, cells = self.key[theirs], self.owner[theirs], self.cells[theirs]
        asked, asking = self.key[mine], self.owner[mine]
        starts, ends = key.searchsorted(asked), key.searchsorted(asked, side="right")
        total = (ends - starts).cumsum()
        begin = 0
        while begin < len(asked):
            before = total[begin - 1] if begin else 0
            end = max(begin + 1, int(total.searchsorted(before + PAIRS_AT_ONCE, side="right")))
            part = slice(begin, end)
            entry, position = expand_ranges(starts[part], ends[part] - starts[part])
            first, second = asking[part][entry], owner[position]
            # boxes may share several cells: counted where their intersection begins
            corner = np.maximum(self.first[first], self.first[second])  # [P, 2]
            once = corner[:, 1] * self.width + corner[:, 0] == cells[position]
            yield first[once], second[once]
            begin = end
