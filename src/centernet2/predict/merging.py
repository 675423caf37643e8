"""Merged detections of tiles and the whole image: each object once, and none cut.

A box that ends at a seam, an inner border of its tile, is a part of an object. Two parts at the two
sides of a seam that continue each other are joined. Then boxes suppress others of their class, best
first: whole ones, joined ones, parts.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from centernet2.ops.row_pairs import Pairs, Rows, keep_best, mark
from centernet2.predict.box_pairs import BoxGrid, Floats
from centernet2.structures import BoolArray

NMS_IOU = 0.5  # IoU from which a box suppresses another one
JOINED_IOU = 0.6  # IoU, along the seam, of two parts of one object
SLACK = 0.05  # error of a side, as a fraction of the box
# fractions of a box inside a better one, enlarged by the slack, from which it is suppressed; those
# that are whole: by IoU alone
JOINED_INSIDE, CUT_INSIDE, COARSE_INSIDE = 0.8, 0.5, 0.3
FIRST_BLOCK = 1024  # boxes that are compared with each other at first
LEFT, TOP, RIGHT, BOTTOM = range(4)


class Parts(NamedTuple):
    """Boxes of all tiles and of the whole image, in pixels of the image."""

    boxes: Floats  # [n, 4]
    scores: Floats  # [n]
    labels: Rows  # [n]
    cut: BoolArray  # [n, 4] left, top, right, bottom: the side is at a seam
    coarse: BoolArray  # [n] from the whole image, of an object that a tile shows whole and larger


class Merged(NamedTuple):
    """Remaining boxes, best first, and the parts behind them."""

    boxes: Floats  # [D, 4]
    scores: Floats  # [D]
    labels: Rows  # [D]
    rows: Rows  # [D] part; n + g for group g
    groups: Rows  # [n] group of joined parts, -1: none


def merge(parts: Parts, *, margin: float) -> Merged:
    """Join parts across seams, and suppress boxes of objects that a better box shows.

    Args:
        margin: see `slack`.
    """
    if not len(parts.boxes):
        return Merged(*parts[:3], np.arange(0), np.arange(0))
    groups = _group(len(parts.boxes), *_seam_pairs(parts, margin))
    joined = _join(parts, groups, margin)
    both = _append(parts, joined)
    is_joined = np.arange(len(both.boxes)) >= len(parts.boxes)
    rows = _suppress(both, is_joined)
    rows = rows[(-both.scores[rows]).argsort(kind="stable")]
    return Merged(both.boxes[rows], both.scores[rows], both.labels[rows], rows, groups)


def slack(boxes: Floats, margin: float) -> Floats:
    """Return how far each side [n, 4] may be off: `margin`, and more for large boxes."""
    sides: Floats = np.tile(margin + SLACK * (boxes[:, 2:] - boxes[:, :2]), 2)
    return sides


def _enlarge(boxes: Floats, margin: float) -> Floats:
    outward = np.array([-1, -1, 1, 1], np.float32)
    larger: Floats = boxes + outward * slack(boxes, margin)
    return larger


def _seam_pairs(parts: Parts, margin: float) -> Pairs:
    """Find pairs of parts that continue each other across a seam."""
    ends = np.flatnonzero(parts.cut.any(axis=1))
    if not len(ends):
        return ends, ends
    boxes, cut = parts.boxes[ends], parts.cut[ends]
    wide = _enlarge(boxes, margin)  # tiles may only touch
    everything = np.ones(len(ends), dtype=bool)
    found: list[Pairs] = []
    for a, b in BoxGrid(wide, parts.labels[ends]).pairs(everything, everything):
        pairs = np.zeros(len(a), dtype=bool)
        for low, high, along in ((LEFT, RIGHT, (TOP, BOTTOM)), (TOP, BOTTOM, (LEFT, RIGHT))):
            reach = wide[a, high] >= wide[b, low]
            order = (boxes[a, low] < boxes[b, low]) & (boxes[a, high] < boxes[b, high])
            fits = _iou_along(boxes[a], boxes[b], *along) >= JOINED_IOU
            pairs |= cut[a, high] & cut[b, low] & reach & order & fits
        found.append((ends[a[pairs]], ends[b[pairs]]))
    return _concatenate(found)


def _iou_along(a: Floats, b: Floats, low: int, high: int) -> Floats:
    """Compute the IoU [P] of boxes [P, 4] along one axis."""
    shared = np.minimum(a[:, high], b[:, high]) - np.maximum(a[:, low], b[:, low])
    union = np.maximum(a[:, high], b[:, high]) - np.minimum(a[:, low], b[:, low])
    iou: Floats = shared / np.maximum(union, 1e-6)
    return iou


def _group(count: int, first: Rows, second: Rows) -> Rows:
    """Number the connected components [count] of pairs; -1: in no pair."""
    lowest = np.arange(count)
    while True:
        least = np.minimum(lowest[first], lowest[second])
        before = lowest.copy()
        np.minimum.at(lowest, first, least)
        np.minimum.at(lowest, second, least)
        if (lowest == before).all():
            break
    groups = np.full(count, -1)
    members = np.flatnonzero(mark(count, np.concatenate([first, second])))
    groups[members] = np.unique(lowest[members], return_inverse=True)[1]
    return groups


def _join(parts: Parts, groups: Rows, margin: float) -> Parts:
    """Return the union of each group; it is cut where the parts at its side are."""
    members = np.flatnonzero(groups >= 0)
    members = members[groups[members].argsort(kind="stable")]
    starts = np.unique(groups[members], return_index=True)[1]
    if not len(members):
        return _select(parts, members)
    boxes = parts.boxes[members]
    low = np.minimum.reduceat(boxes[:, :2], starts)
    high = np.maximum.reduceat(boxes[:, 2:], starts)
    union = np.concatenate([low, high], axis=1)  # [groups, 4]
    at_side = np.abs(boxes - union[groups[members]]) <= slack(boxes, margin)
    return Parts(
        union,
        np.maximum.reduceat(parts.scores[members], starts),
        parts.labels[members[starts]],
        np.logical_or.reduceat(parts.cut[members] & at_side, starts),
        np.zeros(len(starts), dtype=bool),
    )


def _select(parts: Parts, rows: Rows) -> Parts:
    return Parts._make(getattr(parts, name)[rows] for name in Parts._fields)


def _append(parts: Parts, others: Parts) -> Parts:
    return Parts._make(
        np.concatenate([getattr(parts, name), getattr(others, name)]) for name in Parts._fields
    )


def _suppress(parts: Parts, is_joined: BoolArray) -> Rows:
    """Return the rows of boxes that no better box of their class suppresses.

    In blocks: the kept boxes of a block suppress boxes of the rest before these are compared with
    each other. So many boxes in one place need no more time and memory than others.
    """
    is_part = parts.cut.any(axis=1) | parts.coarse
    rank = np.where(is_part, 2, is_joined)
    order = np.lexsort((-parts.scores, rank))
    boxes, count = parts.boxes[order], len(order)
    inside = np.where(is_joined, JOINED_INSIDE, np.inf)
    inside = np.where(parts.coarse, COARSE_INSIDE, np.where(is_part, CUT_INSIDE, inside))[order]
    grid = BoxGrid(_enlarge(boxes, 0), parts.labels[order])
    kept, rest, length = np.zeros(count, dtype=bool), np.arange(count), FIRST_BLOCK
    while len(rest):
        block, rest, length = mark(count, rest[:length]), rest[length:], 2 * length
        among = ((a[a < b], b[a < b]) for a, b in grid.pairs(block, block))
        block &= keep_best(count, *_doubles(boxes, inside, among))
        kept |= block
        behind = grid.pairs(block, mark(count, rest))
        rest = rest[~mark(count, _doubles(boxes, inside, behind)[1])[rest]]
    return order[kept]


def _doubles(boxes: Floats, inside: Floats, pairs: Iterator[Pairs]) -> Pairs:
    """Select pairs (better, worse) of which the better box suppresses the worse one."""
    area, larger = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1), _enlarge(boxes, 0)
    found: list[Pairs] = []
    least = np.minimum(inside, NMS_IOU) * area  # an IoU needs this intersection, too
    for better, worse in pairs:
        covered = _shared(larger[better], boxes[worse])
        near = np.flatnonzero(covered > least[worse])  # few of the pairs
        better, worse = better[near], worse[near]
        shared = _shared(boxes[better], boxes[worse])
        union = area[better] + area[worse] - shared
        double = (shared > NMS_IOU * union) | (covered[near] > inside[worse] * area[worse])
        found.append((better[double], worse[double]))
    return _concatenate(found)


def _shared(a: Floats, b: Floats) -> Floats:
    """Compute the intersections [P] of boxes [P, 4]."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared: Floats = np.maximum(sides, 0).prod(axis=1)
    return shared


def _concatenate(pairs: list[Pairs]) -> Pairs:
    first, second = ([each[side] for each in pairs] for side in (0, 1))
    return np.concatenate([*first, np.arange(0)]), np.concatenate([*second, np.arange(0)])
