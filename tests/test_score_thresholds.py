"""Score thresholds: numbers of any library, by label, by class name; what is refused."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from centernet2.score_thresholds import above_threshold, describe_threshold, resolve_thresholds

NAMES = ("red", "green", "blue")


def resolved(threshold: Any) -> Any:
    return resolve_thresholds(threshold, NAMES, len(NAMES))


@pytest.mark.parametrize("number", [
    0.5, Fraction(1, 2), np.float16(0.5), np.float32(0.5), np.float64(0.5), np.array(0.5),
    torch.tensor(0.5), torch.tensor(0.5, requires_grad=True),
    torch.tensor(0.5, dtype=torch.bfloat16),
])  # fmt: skip
def test_numbers_of_any_library_equal_the_float(number: Any) -> None:
    assert resolved(number) == 0.5 and type(resolved(number)) is float
    assert resolved([number, 0, number]) == (0.5, 0.0, 0.5)


@pytest.mark.parametrize("limit", [0, 1, np.int64(1), torch.tensor(0)])
def test_bounds_are_scores(limit: Any) -> None:
    assert resolved(limit) == float(limit)


@pytest.mark.parametrize("values", [
    [0.25, 0.5, 1.0],
    (0.25, 0.5, 1.0),
    np.array([0.25, 0.5, 1.0], dtype=np.float32),
    torch.tensor([0.25, 0.5, 1.0]),
])  # fmt: skip
def test_one_number_per_class(values: Any) -> None:
    assert resolved(values) == (0.25, 0.5, 1.0)


def test_other_classes_have_no_threshold_by_name() -> None:
    assert resolved({"blue": np.float32(0.5)}) == (0.0, 0.0, 0.5)
    assert resolved({}) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("threshold", "words"), [
    (float("nan"), "score_threshold is nan; scores are in 0..1"),
    (float("inf"), "score_threshold is inf"),
    (30, "score_threshold is 30; scores are in 0..1"),
    (-1, "score_threshold is -1"),
    (np.float32("nan"), "score_threshold is nan"),
    (torch.tensor(1.5), "score_threshold is 1.5"),
    (None, "score_threshold is None"),
    (True, "score_threshold is of type bool"),
    (np.True_, "score_threshold is of type bool"),
    (torch.tensor(True), "score_threshold is of type Tensor"),
    ("0.5", "score_threshold is of type str"),
    (0.5 + 0j, "score_threshold is of type complex"),
    ({0.5}, "score_threshold is of type set"),
    ([], r"score_threshold has 0 values, but the model has 3 classes \(red, green, blue\)"),
    ([0.5], "score_threshold has 1 values"),
    (np.array([0.1, 0.2]), "score_threshold has 2 values"),
    (torch.zeros(4), "score_threshold has 4 values"),
    (torch.zeros(3, 1), r"score_threshold\[0\] is of type list"),
    ([0.1, None, 0.2], r"score_threshold\[1\] is None"),
    ([0.1, 0.2, 20], r"score_threshold\[2\] is 20"),
    ({"gren": 0.5}, "class 'gren', .*nearest of its 3 classes is 'green'"),
    ({1: 0.5}, "the class 1, which the model does not have"),
    ({"red": 30}, r"score_threshold\['red'\] is 30"),
])  # fmt: skip
def test_what_is_no_threshold_is_refused_by_name(threshold: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        resolved(threshold)


def test_unknown_classes() -> None:
    assert resolve_thresholds([0.1, 0.2], None, None) == (0.1, 0.2)
    with pytest.raises(ValueError, match="at least one class"):
        resolve_thresholds([], None, None)
    with pytest.raises(ValueError, match="has no class names; give a list"):
        resolve_thresholds({"red": 0.5}, None, 3)


def test_threshold_of_each_class_is_applied() -> None:
    scores, labels = torch.tensor([0.5, 0.4, 0.6]), torch.tensor([0, 1, 1])
    assert above_threshold(scores, labels, 0.5).tolist() == [True, False, True]
    assert above_threshold(scores, labels, (0.6, 0.4)).tolist() == [False, True, True]
    with pytest.raises(ValueError, match="has 1 values, but the model detects the label 1"):
        above_threshold(scores, labels, (0.6,))


def test_description_of_thresholds() -> None:
    assert describe_threshold(0.3) == "the score threshold 0.3"
    assert describe_threshold((0.25, 0.5)) == "the score thresholds per class (0.25 to 0.5)"


def test_names_are_equal_in_both_unicode_forms() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for own, given in ((composed, decomposed), (decomposed, composed)):
        assert resolve_thresholds({given: 0.5}, ("tea", own), 2) == (0.0, 0.5)
