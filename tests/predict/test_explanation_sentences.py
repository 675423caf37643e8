"""The sentences of an explanation: both languages say the same."""

# ruff: noqa: RUF001  # the punctuation of Chinese

import re
from dataclasses import replace
from string import Formatter
from typing import get_args

import numpy as np
import pytest

from centernet2.models.explain.explanation import (
    ClassStep,
    Cut,
    Explanation,
    LocationStep,
    ProposalStep,
    Rival,
    Rule,
    StageStep,
)
from centernet2.predict.explaining import PointExplanation
from centernet2.predict.explanation_sentences import CHINESE, ENGLISH, Unexplained

BOX = (1.0, 2.0, 30.0, 40.5)
SUPPRESSED = Cut("NMS", 0.71, 0.5, Rival(BOX, 0.8, 3))


def fields_of(text: str) -> set[tuple[str, str]]:
    """Return name and format of each value in a template."""
    return {(name, form or "") for _, name, form, _ in Formatter().parse(text) if name}


def test_both_languages_have_the_same_values() -> None:
    assert ENGLISH.keys() == CHINESE.keys() >= {*get_args(Rule), *get_args(Unexplained)} - {"NMS"}
    for key, text in ENGLISH.items():
        assert fields_of(text) == fields_of(CHINESE[key]), key
        has_words = re.search("[a-z]", re.sub(r"{.*?}", "", text))
        assert bool(has_words) == bool(re.search("[\u4e00-\u9fff]", CHINESE[key])), key


def explained(cut: Cut | None) -> PointExplanation:
    """Return an explanation with a place that another proposal suppressed, or that a rule cut."""
    followed = cut is None or cut.by is not None
    location = LocationStep(0, 8, 3, 4, (28.0, 36.0), 0.61, 0, 0.78, BOX, 5, 9, cut, 2)
    if not followed:
        location = LocationStep(0, 8, 3, 4, (28.0, 36.0), 0.61, 0, 0.78, BOX, 12, 9, cut, None)
    steps = (
        ClassStep(0, 0.9, 0.8, BOX, None, 0),
        ClassStep(1, 0.05, 0.2, BOX, None, 1),
        ClassStep(2, 0.01, 0.1, BOX, Cut("detections per image", 101, 100), None),
    )
    path = ProposalStep(2, 0.78, BOX, (StageStep(BOX, BOX, (0.7, 0.1, 0.05, 0.15)),), steps)
    record = Explanation((30.0, 20.0), (location,), 0, True, 7, (path,) if followed else (), ())
    image = np.zeros((50, 60, 3), np.uint8)
    return PointExplanation(image, record, ["p3"], ["cat", "dog", "bird"], 0.5)


@pytest.mark.parametrize(
    "cut", [None, SUPPRESSED, *(Cut(rule, 0.2, 0.25) for rule in get_args(Rule) if rule != "NMS")]
)
def test_both_languages_give_the_same_numbers(cut: Cut | None) -> None:
    both = [
        sorted(re.findall(r"\d+(?:\.\d+)?", explained(cut).text(language)))
        for language in ("en", "zh")
    ]
    assert both[0] == both[1] and both[0]


def test_sentence_of_a_suppressed_place() -> None:
    assert explained(SUPPRESSED).summary() == (
        "the strongest location is on level p3 (value 0.61); suppressed by NMS: IoU 0.710 exceeds "
        "0.5 with proposal 3, score 0.8000, box [1.0, 2.0, 30.0, 40.5], which is followed instead; "
        "as class cat (score 0.8): detection 0"
    )
    assert explained(SUPPRESSED).summary("zh") == (
        "最强的位置在层 p3（值 0.61）；被 NMS 抑制："
        "与候选框 3 的 IoU 0.710 超过 0.5，后者的分数 "
        "0.8000，边框 [1.0, 2.0, 30.0, 40.5]，以下改为说明那个候选框；"
        "作为类别 cat（分数 0.8）："
        "检测结果 0"
    )


@pytest.mark.parametrize(
    ("threshold", "rival"),
    [(0.25, "detection 3"), (0.5, "detection 3 (below the threshold of those shown)")],
)
def test_sentence_tells_which_suppressor_is_not_shown(threshold: float, rival: str) -> None:
    whole = explained(None)
    (path,) = whole.record.proposals
    bird = ClassStep(2, 0.01, 0.1, BOX, Cut("NMS", 0.71, 0.5, Rival(BOX, 0.3, 3)), None)
    record = replace(whole.record, proposals=(replace(path, classes=(*path.classes[:2], bird)),))
    text = replace(whole, record=record, threshold=threshold).text()
    assert f"suppressed by NMS: IoU 0.710 exceeds 0.5 with {rival}, score 0.3000" in text


def test_other_language_is_refused() -> None:
    with pytest.raises(ValueError, match="language is 'fr'; it is one of en, zh"):
        explained(None).text("fr")
