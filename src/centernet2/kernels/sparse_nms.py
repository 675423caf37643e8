"""Non-maximum suppression among boxes of which only few nearly coincide: those pairs are found without trying all.

Boxes that overlap by more than t, at least a half, have areas within a factor t of each other, and centres within 1 - t
of the smaller width. Sorted by area, in steps of that factor, and then by centre, all boxes that a box may overlap so
much lie in three windows: in its own step and in those next to it.

In NumPy, because many of the arrays are short: its operators take a fifth of the time of PyTorch's to begin.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MARGIN = 1e-3  # relative, for what rounding does to these bounds
CROWD = 256  # neighbours of a box on average: so many boxes of one place are gone soon if they are taken in turn

Floats = NDArray[np.floating]
Rows = NDArray[np.intp]
Pairs = tuple[Rows, Rows]  # [P] each: rows of boxes that overlap by more than the threshold


def sparse_nms(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor | None:
    """Rows of boxes [R, 4] float32, best first, that stay: the same as torchvision's; None where boxes crowd.

    A part of the boxes is settled at a time, and those that stay remove boxes from the rest.

    Args:
        scores: [R], falling.
        labels: [R], boxes of different ones leave each other alone; None: one class.
        iou_threshold: at least a half and below 1; the nearer to 1, the fewer pairs there are.
        limit: so many rows are enough, and those that tie with the last of them.
    """
    if not len(boxes):
        return torch.arange(0)
    score = scores.detach().numpy()
    with np.errstate(invalid="ignore", over="ignore"):  # of boxes without end
        places = Places(
            boxes.detach().numpy(), None if labels is None else labels.numpy(), iou_threshold
        )
    stay, rest, length = np.arange(0), np.arange(len(boxes)), limit + limit // 4
    while len(rest):
        block, rest = rest[:length], rest[length:]
        pairs = places.pairs_within(block)
        if pairs is None:
            return None
        kept = block[_settle(len(boxes), *pairs)[block]]
        stay = np.concatenate([stay, kept])
        if not len(rest) or (len(stay) >= limit and score[rest[0]] < score[stay[limit - 1]]):
            break
        pairs = places.pairs_between(kept, rest)
        if pairs is None:
            return None
        rest = rest[~_mark(len(boxes), pairs[1])[rest]]
    return torch.from_numpy(stay)


class Places:
    """Where boxes [R, 4], at least one, lie among others by size and place.

    Each has a number, `key` [R], whose whole part says area and label, the rest the centre, and its partners lie within
    `reach` [R] of that number, of the one below and of the one above.
    """

    def __init__(self, boxes: Floats, labels: Rows | None, iou_threshold: float) -> None:
        self.iou_threshold = np.float64(
            iou_threshold
        )  # not rounded to the overlaps' float32, as a mere number would be
        self.area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        # the four numbers of a box are taken as one, and the lower ones negative: the least of each is the common part
        self.corners = np.concatenate([-boxes[:, :2], boxes[:, 2:]], axis=1).view(np.complex128)[
            :, 0
        ]
        solid = (self.area > 0) & np.isfinite(self.area)
        left, right = (np.where(solid, boxes[:, side], 0).astype(np.float64) for side in (0, 2))
        span = 1 + 3 * (right.max() - left.min())
        step = np.floor(
            np.log(np.where(solid, self.area, 1).astype(np.float64))
            / -math.log(iou_threshold * (1 - MARGIN))
        )
        if labels is not None:
            step += labels * (step.max() - step.min() + 3)
        alone = step.max() + 3 * np.arange(1, len(boxes) + 1)  # boxes without area or end
        self.key = np.where(solid, step + ((left + right) / 2 - left.min()) / span, alone)
        self.reach = (1 - iou_threshold) * (1 + MARGIN) * (right - left) / span

    def pairs_within(self, rows: Rows) -> Pairs | None:
        """Those among the rows [B], each once, the better box first; None where there may be too many."""
        rows = rows[self.key[rows].argsort()]
        key, reach = self.key[rows], self.reach[rows]
        # in its own step a box meets those behind it; those of the step below it have met it
        starts = np.concatenate([np.arange(1, len(key) + 1), key.searchsorted(key + 1 - reach)])
        ends = key.searchsorted(np.concatenate([key + reach, key + 1 + reach]), side="right")
        pairs = self._pairs(np.tile(rows, 2), rows, starts, ends)
        return None if pairs is None else (np.minimum(*pairs), np.maximum(*pairs))

    def pairs_between(self, rows: Rows, others: Rows) -> Pairs | None:
        """Those of a box of the rows [B] with one of the others [C]; None where there may be too many."""
        others = others[self.key[others].argsort()]
        key, own, reach = self.key[others], self.key[rows], np.tile(self.reach[rows], 3)
        own = np.concatenate([own - 1, own, own + 1])
        starts, ends = key.searchsorted(own - reach), key.searchsorted(own + reach, side="right")
        return self._pairs(np.tile(rows, 3), others, starts, ends)

    def _pairs(self, rows: Rows, others: Rows, starts: Rows, ends: Rows) -> Pairs | None:
        """Of each row [W] with the others in its window, from `starts` to before `ends` [W]."""
        counts = np.maximum(ends - starts, 0)
        stops = counts.cumsum()
        if stops[-1] > CROWD * len(others):
            return None
        first = np.repeat(rows, counts)  # [P]
        second = others[np.arange(stops[-1]) + np.repeat(starts - stops + counts, counts)]
        close = np.flatnonzero(self._iou(first, second) > self.iou_threshold)
        return first[close], second[close]

    def _iou(self, first: Rows, second: Rows) -> Floats:
        """Overlap [P] of boxes, in torchvision's order of operations."""
        edges = np.minimum(
            self.corners[first].view(np.float32), self.corners[second].view(np.float32)
        ).reshape(-1, 4)
        sides = np.maximum(edges[:, 2:] + edges[:, :2], 0)
        shared = sides[:, 0] * sides[:, 1]
        overlap: Floats = shared / (self.area[first] + self.area[second] - shared)
        return overlap


def _settle(count: int, better: Rows, worse: Rows) -> NDArray[np.bool_]:
    """Which of `count` boxes stay, if the first of a pair, where it stays itself, removes the second."""
    stays = np.ones(count, dtype=bool)
    while len(better):
        waits = _mark(count, worse)[better]
        gone = _mark(count, worse[~waits])
        stays &= ~gone
        undecided = np.flatnonzero(waits & ~(gone[better] | gone[worse]))
        better, worse = better[undecided], worse[undecided]
    return stays


def _mark(count: int, rows: Rows) -> NDArray[np.bool_]:
    """Which of `count` rows are among those."""
    marks = np.zeros(count, dtype=bool)
    marks[rows] = True
    return marks
