"""Merging: joined across seams, suppressed by better boxes, each class alone."""

import numpy as np
import pytest
import torch
import torchvision

from centernet2.predict.box_pairs import BoxGrid
from centernet2.predict.merging import Parts, merge

NOTHING = (False, False, False, False)
LEFT, TOP, RIGHT, BOTTOM = np.eye(4, dtype=bool).tolist()


def make_parts(
    *rows: tuple[list[float], float, int, list[bool]], coarse: tuple[int, ...] = ()
) -> Parts:
    """Return parts of rows: box, score, label, cut sides."""
    boxes, scores, labels, cut = zip(*rows, strict=True)
    return Parts(
        np.array(boxes, np.float32), np.array(scores, np.float32), np.array(labels),
        np.array(cut, dtype=bool), np.isin(np.arange(len(rows)), coarse),
    )  # fmt: skip


def random_boxes(count: int, *, spread: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, spread, (count, 2))
    return np.concatenate([corners, corners + np.exp(rng.uniform(1, 5, (count, 2)))], axis=1)


@pytest.mark.parametrize("spread", [20, 300, 3000])
def test_whole_boxes_are_suppressed_as_by_torchvision(spread: float) -> None:
    boxes = random_boxes(3000, spread=spread, seed=0).astype(np.float32)
    rng = np.random.default_rng(1)
    scores, labels = rng.random(3000).astype(np.float32), rng.integers(0, 2, 3000)
    nothing = np.zeros(3000, dtype=bool)
    parts = Parts(boxes, scores, labels, np.zeros((3000, 4), dtype=bool), nothing)
    expected = torchvision.ops.batched_nms(
        *map(torch.from_numpy, (boxes, scores, labels)), iou_threshold=0.5
    )
    assert merge(parts, margin=10).rows.tolist() == expected.tolist()


def test_grid_finds_every_pair_that_intersects() -> None:
    boxes = random_boxes(300, spread=500, seed=0).astype(np.float32)
    labels = np.random.default_rng(0).integers(0, 2, 300)
    some, others = np.arange(300) % 2 == 0, np.arange(300) % 3 == 0
    pairs = [(int(a), int(b)) for first, second in BoxGrid(boxes, labels).pairs(some, others)
             for a, b in zip(first, second, strict=True)]  # fmt: skip
    assert len(set(pairs)) == len(pairs)
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    meet = (high > low).all(axis=2) & (labels[:, None] == labels[None])
    expected = np.argwhere(meet & some[:, None] & others[None])
    assert set(map(tuple, expected.tolist())) <= set(pairs)


def test_parts_of_an_object_in_four_tiles_are_joined() -> None:
    parts = make_parts(
        ([50, 60, 100, 100], 0.5, 0, np.add(RIGHT, BOTTOM)),
        ([90, 60, 170, 100], 0.6, 0, np.add(LEFT, BOTTOM)),
        ([50, 90, 100, 180], 0.7, 0, np.add(RIGHT, TOP)),
        ([90, 90, 170, 180], 0.4, 0, np.add(LEFT, TOP)),
    )
    merged = merge(parts, margin=2)
    assert merged.boxes.tolist() == [[50, 60, 170, 180]]
    assert merged.scores.tolist() == pytest.approx([0.7]) and merged.groups.tolist() == [0] * 4


@pytest.mark.parametrize("other", [
    ([95, 300, 170, 340], 0.6, 0, LEFT),  # elsewhere along the seam
    ([95, 60, 170, 100], 0.6, 1, LEFT),  # of another class
    ([160, 60, 250, 100], 0.6, 0, LEFT),  # does not reach the seam
    ([95, 60, 170, 100], 0.6, 0, NOTHING),  # whole
    ([95, 20, 170, 180], 0.6, 0, LEFT),  # of another extent along the seam
])  # fmt: skip
def test_other_boxes_are_not_joined(other: tuple[list[float], float, int, list[bool]]) -> None:
    merged = merge(make_parts(([20, 60, 100, 100], 0.5, 0, RIGHT), other), margin=2)
    assert (merged.groups == -1).all() and len(merged.boxes) == 2


def test_whole_box_suppresses_its_parts_whatever_their_scores() -> None:
    whole = ([20, 60, 170, 100], 0.3, 0, NOTHING)
    parts = make_parts(
        ([20, 60, 60, 100], 0.9, 0, RIGHT), whole, ([130, 62, 170, 99], 0.8, 0, LEFT)
    )
    assert merge(parts, margin=2).boxes.tolist() == [whole[0]]


def test_small_object_inside_a_large_one_stays() -> None:
    large = ([0, 0, 1000, 800], 0.9, 0, NOTHING)
    merged = merge(make_parts(large, ([300, 300, 340, 350], 0.5, 0, NOTHING)), margin=2)
    assert len(merged.boxes) == 2


def test_coarse_box_over_two_objects_is_suppressed() -> None:
    parts = make_parts(
        ([0, 0, 20, 20], 0.6, 0, NOTHING), ([22, 0, 42, 20], 0.6, 0, NOTHING),
        ([0, 0, 42, 20], 0.9, 0, NOTHING), ([80, 0, 120, 20], 0.9, 0, NOTHING), coarse=(2, 3),
    )  # fmt: skip
    assert sorted(merge(parts, margin=2).rows.tolist()) == [0, 1, 3], "the last is alone there"


def test_no_boxes() -> None:
    empty = make_parts(([0, 0, 1, 1], 1, 0, NOTHING))
    nothing = Parts(*(column[:0] for column in empty))
    assert merge(nothing, margin=2).boxes.shape == (0, 4)
