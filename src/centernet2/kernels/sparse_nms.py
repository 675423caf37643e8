"""Non-maximum suppression at a high IoU, where few boxes coincide, without comparing all pairs.

Boxes whose IoU exceeds t, at least a half, have areas within a factor t of each other, and centers
within 1 - t of the smaller width. Sorted by area, in steps of that factor, and then by center, all
such partners of a box lie in three windows: in its own step and in those next to it.

In NumPy, because many of the arrays are short: its operators start in a fifth of PyTorch's time.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MARGIN = 1e-3  # relative, for what rounding does to these bounds
MAX_NEIGHBORS = 256  # of a box, on average; greedy NMS removes crowds of more boxes sooner

Floats = NDArray[np.floating]
Rows = NDArray[np.intp]
Pairs = tuple[Rows, Rows]  # [P] each: rows of boxes whose IoU exceeds the threshold


def sparse_nms(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor | None:
    """Rows of boxes [R, 4] float32, best first, that stay; None where too many are neighbors.

    A block of boxes is decided at a time, and those that stay remove boxes from the rest.

    Args:
        scores: [R], falling.
        labels: [R], boxes of different ones do not remove each other; None: one class.
        iou_threshold: at least a half and below 1; the nearer to 1, the fewer pairs there are.
        limit: stop when this many stay, and those that tie with the last of them.
    """
    if not len(boxes):
        return torch.arange(0)
    score = scores.detach().numpy()
    with np.errstate(invalid="ignore", over="ignore"):  # of infinite boxes
        index = SizeIndex(
            boxes.detach().numpy(), None if labels is None else labels.numpy(), iou_threshold
        )
    stay, rest, length = np.arange(0), np.arange(len(boxes)), limit + limit // 4
    while len(rest):
        block, rest = rest[:length], rest[length:]
        pairs = index.pairs_within(block)
        if pairs is None:
            return None
        kept = block[_greedy(len(boxes), *pairs)[block]]
        stay = np.concatenate([stay, kept])
        if not len(rest) or (len(stay) >= limit and score[rest[0]] < score[stay[limit - 1]]):
            break
        pairs = index.pairs_between(kept, rest)
        if pairs is None:
            return None
        rest = rest[~_mark(len(boxes), pairs[1])[rest]]
    return torch.from_numpy(stay)


class SizeIndex:
    """Boxes [R, 4], at least one, in an order in which partners are near each other.

    Each box has a `key` [R], whose integer part encodes area and label, and whose fraction the
    center. Its partners lie within `reach` [R] of that key, of key - 1 and of key + 1.
    """

    def __init__(self, boxes: Floats, labels: Rows | None, iou_threshold: float) -> None:
        # not rounded to the float32 of the IoUs, as a Python number would be
        self.iou_threshold = np.float64(iou_threshold)
        self.area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        # with the lower corner negated, the minimum of two boxes is their intersection; the four
        # numbers are gathered as one
        corners = np.concatenate([-boxes[:, :2], boxes[:, 2:]], axis=1)
        self.corners = corners.view(np.complex128)[:, 0]
        solid = (self.area > 0) & np.isfinite(self.area)
        left, right = (np.where(solid, boxes[:, side], 0).astype(np.float64) for side in (0, 2))
        span = 1 + 3 * (right.max() - left.min())
        step = np.floor(
            np.log(np.where(solid, self.area, 1).astype(np.float64))
            / -math.log(iou_threshold * (1 - MARGIN))
        )
        if labels is not None:
            step += labels * (step.max() - step.min() + 3)
        alone = step.max() + 3 * np.arange(1, len(boxes) + 1)  # empty and infinite boxes
        self.key = np.where(solid, step + ((left + right) / 2 - left.min()) / span, alone)
        self.reach = (1 - iou_threshold) * (1 + MARGIN) * (right - left) / span

    def pairs_within(self, rows: Rows) -> Pairs | None:
        """Pairs among the rows [B], each once, the better box first; None: maybe too many."""
        rows = rows[self.key[rows].argsort()]
        key, reach = self.key[rows], self.reach[rows]
        # a box is compared with those behind it in its own step, and with the step above
        starts = np.concatenate([np.arange(1, len(key) + 1), key.searchsorted(key + 1 - reach)])
        ends = key.searchsorted(np.concatenate([key + reach, key + 1 + reach]), side="right")
        pairs = self._pairs(np.tile(rows, 2), rows, starts, ends)
        return None if pairs is None else (np.minimum(*pairs), np.maximum(*pairs))

    def pairs_between(self, rows: Rows, others: Rows) -> Pairs | None:
        """Pairs of one of the rows [B] and one of the others [C]; None: there may be too many."""
        others = others[self.key[others].argsort()]
        key, own, reach = self.key[others], self.key[rows], np.tile(self.reach[rows], 3)
        own = np.concatenate([own - 1, own, own + 1])
        starts, ends = key.searchsorted(own - reach), key.searchsorted(own + reach, side="right")
        return self._pairs(np.tile(rows, 3), others, starts, ends)

    def _pairs(self, rows: Rows, others: Rows, starts: Rows, ends: Rows) -> Pairs | None:
        """Pairs of each row [W] with the others in its window `starts` ... `ends` - 1 [W]."""
        counts = np.maximum(ends - starts, 0)
        stops = counts.cumsum()
        if stops[-1] > MAX_NEIGHBORS * len(others):
            return None
        first = np.repeat(rows, counts)  # [P]
        second = others[np.arange(stops[-1]) + np.repeat(starts - stops + counts, counts)]
        close = np.flatnonzero(self._iou(first, second) > self.iou_threshold)
        return first[close], second[close]

    def _iou(self, first: Rows, second: Rows) -> Floats:
        """IoU [P] of boxes, in torchvision's order of operations."""
        edges = np.minimum(
            self.corners[first].view(np.float32), self.corners[second].view(np.float32)
        ).reshape(-1, 4)
        sides = np.maximum(edges[:, 2:] + edges[:, :2], 0)
        shared = sides[:, 0] * sides[:, 1]
        iou: Floats = shared / (self.area[first] + self.area[second] - shared)
        return iou


def _greedy(count: int, better: Rows, worse: Rows) -> NDArray[np.bool_]:
    """Which of `count` boxes stay, where the first of a pair, if it stays, removes the second."""
    stays = np.ones(count, dtype=bool)
    while len(better):
        waits = _mark(count, worse)[better]
        gone = _mark(count, worse[~waits])
        stays &= ~gone
        undecided = np.flatnonzero(waits & ~(gone[better] | gone[worse]))
        better, worse = better[undecided], worse[undecided]
    return stays


def _mark(count: int, rows: Rows) -> NDArray[np.bool_]:
    """Which of `count` rows are among `rows`: [count] bool."""
    marks = np.zeros(count, dtype=bool)
    marks[rows] = True
    return marks
