"""Non-maximum suppression among boxes of which only few nearly coincide: those pairs are found without trying all.

Boxes that overlap by more than t have areas and widths within a factor t of each other, and centres within (1 - t) / t
of a width. Sorted by area, in steps of that factor, and then by centre, all that a box may remove lie in two windows.
"""

import math

import torch
from torch import Tensor

MARGIN = 1e-3  # relative, for what rounding does to these bounds
CROWD = 256  # neighbours of a box on average: so many boxes of one place are gone soon if they are taken in turn


def sparse_nms_mask(boxes: Tensor, labels: Tensor | None, iou_threshold: float) -> Tensor | None:
    """Which of boxes [R, 4] float32, best first, stay: [R] bool, the same as torchvision's; None where they crowd.

    Args:
        labels: [R], boxes of different ones leave each other alone; None: one class.
        iou_threshold: above 0 and below 1; the nearer to 1, the fewer pairs there are.
    """
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    solid = ((area > 0) & area.isfinite()).nonzero().squeeze(1)  # others overlap nothing
    if not len(solid):
        return torch.ones(len(boxes), dtype=torch.bool)
    key, reach = _places(boxes[solid], area[solid], None if labels is None else labels[solid], iou_threshold)
    key, order = key.sort()
    reach, rank = reach[order], solid[order]  # [S] each
    # a box of the same area meets those behind it in its own window, any other one in that of the smaller box
    starts = torch.cat([torch.arange(1, len(key) + 1), torch.searchsorted(key, key + 1 - reach)])
    ends = torch.searchsorted(key, torch.cat([key + reach, key + 1 + reach]), right=True)
    counts = (ends - starts).clamp(min=0)
    if counts.sum() > CROWD * len(boxes):
        return None
    window = torch.repeat_interleave(counts)  # [pairs]
    first = window % len(key)
    second = torch.arange(len(window)) + (starts - counts.cumsum(0) + counts)[window]
    close = (_iou(boxes[rank], area[rank], first, second).double() > iou_threshold).nonzero().squeeze(1)
    first, second = (rank.index_select(0, index.index_select(0, close)) for index in (first, second))
    return _settle(len(boxes), torch.minimum(first, second), torch.maximum(first, second))


def _places(boxes: Tensor, area: Tensor, labels: Tensor | None, iou_threshold: float) -> tuple[Tensor, Tensor]:
    """Of each box a number, whose whole part says area and label, the rest the centre, and how far its partners lie."""
    left, right = boxes[:, 0].double(), boxes[:, 2].double()
    span = 1 + 3 * (right.max() - left.min())
    step = (area.double().log() / -math.log(iou_threshold) / (1 + MARGIN)).floor()
    if labels is not None:
        step += labels * (step.max() - step.min() + 3)
    reach = (1 / iou_threshold - 1) * (1 + MARGIN) * (right - left) / span
    return step + ((left + right) / 2 - left.min()) / span, reach


def _iou(boxes: Tensor, area: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Overlap [P] of the boxes [S, 4] `first` [P] with `second` [P], in torchvision's order of operations."""
    # the four numbers of a box are taken as one, and the lower ones negative: the least of each is the common part
    corners = torch.cat([-boxes[:, :2], boxes[:, 2:]], dim=1).view(torch.complex128).squeeze(1)
    a, b = (corners.index_select(0, index).view(torch.float32) for index in (first, second))
    low, high = torch.minimum(a, b).view(-1, 2, 2).unbind(1)
    width, height = (high + low).clamp_(min=0).unbind(1)
    shared = width * height
    return shared / (area.index_select(0, first) + area.index_select(0, second) - shared)


def _settle(count: int, better: Tensor, worse: Tensor) -> Tensor:
    """Which of `count` boxes stay, if the first of a pair, where it stays itself, removes the second."""
    stays = torch.ones(count, dtype=torch.bool)
    while len(better):
        threatened = torch.zeros_like(stays).index_fill_(0, worse, True)
        waits = threatened.index_select(0, better)
        gone = torch.zeros_like(stays).index_fill_(0, worse[~waits], True)
        stays &= ~gone
        gone_now = gone.index_select(0, better) | gone.index_select(0, worse)
        open_ = (waits & ~gone_now).nonzero().squeeze(1)
        better, worse = better.index_select(0, open_), worse.index_select(0, open_)
    return stays
