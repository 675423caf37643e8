"""The ranking of suspected label errors, for what a detector may say about them."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from centernet2.data.check import LabelError, LabelView, find_label_errors, share_of_agreement

NAMES = ("cat", "dog")
SIDE = 20.0


@dataclass
class Scene:
    """Images with objects in a row, which a detector agrees with unless it is told otherwise."""

    views: list[LabelView] = field(default_factory=list)
    row: int = 0

    def add(
        self,
        labels: list[int],
        *,
        shift: dict[int, float] | None = None,
        probabilities: dict[int, tuple[float, float]] | None = None,
        extra: list[tuple[float, int, float]] | None = None,
    ) -> None:
        """Add an image.

        Args:
            labels: of its objects.
            shift: of the box of some labels, in pixels.
            probabilities: of both classes at some labels.
            extra: place, class and score of detections without a label.
        """
        count = len(labels)
        left = 3 * SIDE * np.arange(count, dtype=float)
        refined = np.stack([left, np.zeros(count), left + SIDE, np.full(count, SIDE)], axis=1)
        # the boxes of labels are never exact
        given = refined + np.array([1.0, 0, 1, 0])
        for place, pixels in (shift or {}).items():
            given[place, [0, 2]] += pixels
        own = np.full((count, 2), 0.02)
        own[np.arange(count), labels] = 0.9
        for place, pair in (probabilities or {}).items():
            own[place] = pair
        certain = own.sum(axis=1) > 0.5
        found, scores = refined[certain], np.full(int(certain.sum()), 0.9)
        found_labels = own.argmax(axis=1)[certain]
        for place, label, score in extra or []:
            x = 3 * SIDE * place
            found = np.concatenate([found, [[x, 50, x + SIDE, 50 + SIDE]]])
            scores = np.append(scores, score)
            found_labels = np.append(found_labels, label)
        order = np.argsort(-scores, kind="stable")
        rows = np.arange(self.row, self.row + count)
        self.row += count
        self.views.append(
            LabelView(
                len(self.views), rows, np.array(labels, dtype=np.int64), given, refined, own,
                found[order], scores[order], found_labels[order],
            )
        )  # fmt: skip

    def ranked(self) -> list[LabelError]:
        errors = find_label_errors(self.views, NAMES, "train")
        return sorted(errors, key=lambda each: -each.suspicion)


def scene() -> Scene:
    whole = Scene()
    for _ in range(5):
        whole.add([0, 1, 0, 1])
    return whole


def test_errors_of_each_kind_come_first() -> None:
    whole = scene()
    whole.add(
        [0, 1, 0, 1],
        shift={0: 8.0},
        probabilities={1: (0.88, 0.02), 2: (0.02, 0.01)},
        extra=[(5, 1, 0.9)],
    )
    first = whole.ranked()[:4]
    by_kind = {each.kind: each for each in first}
    loose, confused = by_kind["loose box"], by_kind["wrong class"]
    spurious, missing = by_kind["spurious"], by_kind["missing"]
    assert (loose.row, loose.label, loose.box) == (20, 0, (0, 0, SIDE, SIDE))
    assert (confused.row, confused.label, confused.box) == (21, 0, None)
    assert confused.reason == "dog 0.02, cat 0.88"
    assert (spurious.row, spurious.label, spurious.box) == (22, None, None)
    assert (missing.row, missing.label) == (None, 1)
    assert missing.box == (300, 50, 320, 70) and missing.reason == "dog, score 0.90"
    assert all(each.suspicion > 0.7 and each.split == "train" for each in first)
    assert all(each.image == 5 for each in first)


def test_every_label_is_in_the_list_once() -> None:
    whole = scene()
    whole.add([], extra=[(0, 0, 0.3)])
    errors = whole.ranked()
    assert sorted(each.row for each in errors if each.row is not None) == list(range(20))
    assert [each.kind for each in errors if each.row is None] == ["missing"]
    assert all(0 <= each.suspicion <= 1 for each in errors)


def test_what_is_typical_of_a_class_is_not_suspicious() -> None:
    unsure = Scene()
    for _ in range(5):
        unsure.add([0, 1], probabilities={1: (0.02, 0.3)})
    assert max(each.suspicion for each in unsure.ranked()) < 0.1


def test_detector_that_knows_no_class_suspects_none() -> None:
    untrained = Scene()
    for _ in range(5):
        untrained.add([0, 1, 1, 1], probabilities=dict.fromkeys(range(4), (0.5, 0.4)))
    assert share_of_agreement(untrained.views) == 0.25
    assert share_of_agreement(scene().views) == 1.0
    assert share_of_agreement([]) == 1.0
    assert max(each.suspicion for each in untrained.ranked()) < 0.1


def test_missing_labels_are_less_suspicious_where_many_are_missing() -> None:
    complete, careless = scene(), scene()
    complete.add([], extra=[(0, 0, 0.9)])
    for _ in range(10):
        careless.add([], extra=[(0, 0, 0.9), (1, 0, 0.9)])
    (one,) = [each for each in complete.ranked() if each.kind == "missing"]
    many = [each for each in careless.ranked() if each.kind == "missing"]
    assert len(many) == 20
    assert many[0].suspicion < 0.5 < one.suspicion


def test_detections_on_a_loose_label_are_not_missing() -> None:
    whole = scene()
    whole.add([0], shift={0: 14.0})  # an IoU of 0.14 with its detection
    assert {each.kind for each in whole.ranked() if each.suspicion > 0.5} == {"loose box"}
    assert not [each for each in whole.ranked() if each.kind == "missing"]


def test_several_detections_of_an_object_are_one_missing_label() -> None:
    whole = scene()
    whole.add([], extra=[(0, 0, 0.9), (0.02, 1, 0.5)])
    (missing,) = [each for each in whole.ranked() if each.kind == "missing"]
    assert missing.label == 0


@pytest.mark.filterwarnings("error")
def test_data_without_labels_or_images() -> None:
    assert find_label_errors([], NAMES, "train") == []
    empty = Scene()
    empty.add([], extra=[(0, 0, 0.4)])
    (missing,) = empty.ranked()
    assert missing.kind == "missing" and 0 < missing.suspicion < 0.4
