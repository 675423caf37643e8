"""Non-maximum suppression (NMS) at a high IoU, without comparing all pairs.

Two boxes whose IoU exceeds t >= 0.5 have areas within a factor t of each other, and centers within
1 - t of the smaller width. If boxes are sorted by area, in steps of that factor, and then by
center, all such partners of a box are in three windows: in its own step and in the adjacent ones.

In NumPy, because many of the arrays are short: its operators start in a fifth of PyTorch's time.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from centernet2.ops.row_pairs import Pairs, Rows, expand_ranges, keep_best, mark

MARGIN = 1e-3  # relative, for rounding errors of these bounds
MAX_NEIGHBORS = 256  # per box, on average; with more, greedy NMS is faster

Floats = NDArray[np.floating]


def sparse_nms(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor | None:
    """Return rows of kept boxes, best first; None if there are too many neighbors.

    Boxes are processed in blocks; the kept boxes of a block remove boxes from the rest.

    Args:
        scores: [R], descending.
        labels: [R], boxes of different labels do not remove each other; None: one class.
        iou_threshold: at least 0.5 and below 1; the nearer to 1, the fewer pairs there are.
        limit: stop when this many boxes are kept, and those that tie with the last of them.
    """
    if not len(boxes):
        return torch.arange(0)
    score = scores.detach().numpy()
    with np.errstate(invalid="ignore", over="ignore"):  # of infinite boxes
        index = SizeIndex(
            boxes.detach().numpy(), None if labels is None else labels.numpy(), iou_threshold
        )
    kept, rest, length = np.arange(0), np.arange(len(boxes)), limit + limit // 4
    while len(rest):
        block, rest = rest[:length], rest[length:]
        pairs = index.pairs_within(block)
        if pairs is None:
            return None
        kept_of_block = block[keep_best(len(boxes), *pairs)[block]]
        kept = np.concatenate([kept, kept_of_block])
        if not len(rest) or (len(kept) >= limit and score[rest[0]] < score[kept[limit - 1]]):
            break
        pairs = index.pairs_between(kept_of_block, rest)
        if pairs is None:
            return None
        rest = rest[~mark(len(boxes), pairs[1])[rest]]
    return torch.from_numpy(kept)


class SizeIndex:
    """Index of boxes [R, 4], R > 0, by a key that is similar for partners.

    The integer part of the `key` [R] encodes area and label, its fraction the center. The keys of
    partners are within `reach` [R] of key - 1, key or key + 1.
    """

    def __init__(self, boxes: Floats, labels: Rows | None, iou_threshold: float) -> None:
        # float64: a Python number would be rounded to the float32 of the IoUs
        self.iou_threshold = np.float64(iou_threshold)
        self.area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        # with the lower corner negated, the minimum of two boxes is their intersection; viewed as
        # one complex number, so that indexing copies all four numbers at once
        corners = np.concatenate([-boxes[:, :2], boxes[:, 2:]], axis=1)
        self.corners = corners.view(np.complex128)[:, 0]
        regular = (self.area > 0) & np.isfinite(self.area)
        left, right = (np.where(regular, boxes[:, side], 0).astype(np.float64) for side in (0, 2))
        span = 1 + 3 * (right.max() - left.min())
        step = np.floor(
            np.log(np.where(regular, self.area, 1).astype(np.float64))
            / -math.log(iou_threshold * (1 - MARGIN))
        )
        if labels is not None:
            step += labels * (step.max() - step.min() + 3)
        isolated = step.max() + 3 * np.arange(1, len(boxes) + 1)  # for empty and infinite boxes
        self.key = np.where(regular, step + ((left + right) / 2 - left.min()) / span, isolated)
        self.reach = (1 - iou_threshold) * (1 + MARGIN) * (right - left) / span

    def pairs_within(self, rows: Rows) -> Pairs | None:
        """Find pairs among rows [B], better box first; None if there may be too many."""
        rows = rows[self.key[rows].argsort()]
        key, reach = self.key[rows], self.reach[rows]
        # a box is compared with those behind it in its own step, and with the step above
        starts = np.concatenate([np.arange(1, len(key) + 1), key.searchsorted(key + 1 - reach)])
        ends = key.searchsorted(np.concatenate([key + reach, key + 1 + reach]), side="right")
        pairs = self._pairs(np.tile(rows, 2), rows, starts, ends)
        return None if pairs is None else (np.minimum(*pairs), np.maximum(*pairs))

    def pairs_between(self, rows: Rows, others: Rows) -> Pairs | None:
        """Find pairs between rows [B] and others [C]; None if there may be too many."""
        others = others[self.key[others].argsort()]
        key, own, reach = self.key[others], self.key[rows], np.tile(self.reach[rows], 3)
        own = np.concatenate([own - 1, own, own + 1])
        starts, ends = key.searchsorted(own - reach), key.searchsorted(own + reach, side="right")
        return self._pairs(np.tile(rows, 3), others, starts, ends)

    def _pairs(self, rows: Rows, others: Rows, starts: Rows, ends: Rows) -> Pairs | None:
        """Find pairs of each row [W] with others in its window starts ... ends - 1 [W]."""
        counts = np.maximum(ends - starts, 0)
        if counts.sum() > MAX_NEIGHBORS * len(others):
            return None
        window, position = expand_ranges(starts, counts)
        first, second = rows[window], others[position]  # [P]
        close = np.flatnonzero(self._iou(first, second) > self.iou_threshold)
        return first[close], second[close]

    def _iou(self, first: Rows, second: Rows) -> Floats:
        """Compute the IoU [P] of boxes, in torchvision's order of operations."""
        edges = np.minimum(
            self.corners[first].view(np.float32), self.corners[second].view(np.float32)
        ).reshape(-1, 4)
        sides = np.maximum(edges[:, 2:] + edges[:, :2], 0)
        shared = sides[:, 0] * sides[:, 1]
        iou: Floats = shared / (self.area[first] + self.area[second] - shared)
        return iou
