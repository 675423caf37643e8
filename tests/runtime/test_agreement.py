"""Agreement of the detections of two programs."""

import numpy as np

from centernet2.runtime.agreement import compare_detections, join_agreements
from centernet2.runtime.session import Arrays


def detections(offset: float = 0.0, count: int = 3) -> Arrays:
    boxes = np.arange(12, dtype=np.float32).reshape(3, 4) * 10 + offset
    arrays = {"boxes": boxes, "scores": np.array([0.9, 0.8, 0.7]), "labels": np.array([1, 0, 1])}
    return {name: column[:count] for name, column in arrays.items()}


def test_same_detections_agree_in_any_order() -> None:
    reverse = {name: column[::-1] for name, column in detections(0.05).items()}
    found = compare_detections(reverse, detections())
    assert found.matched == found.expected == 3 and found.share == 1
    assert abs(found.offset - 0.05) < 1e-4 and found.score_difference == 0


def test_each_difference_counts() -> None:
    assert compare_detections(detections(0.2), detections()).matched == 0
    scores = detections() | {"scores": np.array([0.9, 0.8, 0.702])}
    labels = detections() | {"labels": np.array([1, 0, 0])}
    for other in (scores, labels):
        assert compare_detections(other, detections()).matched == 2


def test_missing_and_repeated_detections_do_not_agree() -> None:
    assert compare_detections(detections(count=2), detections()).share == 2 / 3
    twice = {name: np.concatenate([column, column]) for name, column in detections().items()}
    for pair in ((twice, detections()), (detections(), twice)):
        assert compare_detections(*pair).share == 0.5


def test_nothing_agrees_with_nothing() -> None:
    none = detections(count=0)
    assert (
        compare_detections(none, none).share == 1
        and compare_detections(none, detections()).share == 0
    )
    assert (
        join_agreements(
            [compare_detections(none, detections()), compare_detections(detections(), detections())]
        ).share
        == 0.5
    )
