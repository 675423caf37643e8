"""Precision and recall curves, and points on them."""

import math
from pathlib import Path

import numpy as np
import pytest

from centernet2.evaluation import matching
from centernet2.evaluation.coco_metrics import coco_metrics
from centernet2.evaluation.curves import (
    best_point,
    choose_threshold,
    class_curves,
    curve_of,
)
from centernet2.evaluation.matching import match_detections
from tests.helpers.evaluation import random_set


def test_average_precision_of_curves_equals_coco(tmp_path: Path) -> None:
    dataset, results = random_set(tmp_path, 8, classes=5, decimals=3, noise=400)
    metrics = coco_metrics(dataset, results)
    for iou, name in ((0.5, "AP50"), (0.75, "AP75")):
        curves = class_curves(match_detections(dataset, results, iou_thresholds=(iou,)), 5)
        precisions = [100 * curve.average_precision for curve in curves]
        assert math.isnan(precisions[4])
        # at equal scores COCO's curve has a point for each detection, ours one for each score
        assert np.nanmean(precisions) == pytest.approx(metrics[f"bbox/{name}"], abs=0.3)


def test_matches_of_parts_are_those_of_all_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, results = random_set(tmp_path, 9, classes=5, decimals=2, noise=200)
    *columns, objects = match_detections(dataset, results, iou_thresholds=(0.5, 0.75))
    evaluated: list[int] = []
    joined = matching._matches
    monkeypatch.setattr(matching, "_matches", lambda *a: evaluated.append(len(a[0])) or joined(*a))
    monkeypatch.setattr(matching, "IMAGES_AT_ONCE", 3)
    *in_parts, objects_in_parts = match_detections(dataset, results, iou_thresholds=(0.5, 0.75))
    assert len(evaluated) == math.ceil(len(dataset) / 3) and max(evaluated) <= 3 * 5
    for own, whole in zip([*in_parts, *objects_in_parts], [*columns, *objects], strict=True):
        np.testing.assert_array_equal(own, whole)


def test_points_on_a_curve() -> None:
    """By descending score: right, wrong, two right ones at once, wrong; four objects."""
    scores = np.array([0.5, 0.9, 0.8, 0.7, 0.7])
    curve = curve_of(scores, np.array([False, True, False, True, True]), 4)
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.7, 0.5]
    assert curve.precision.tolist() == [1, 0.5, 0.75, 0.6]
    assert curve.recall.tolist() == [0.25, 0.25, 0.75, 0.75]
    best = best_point(curve)
    assert best is not None and (best.threshold, best.f1) == (0.7, 0.75)
    for precision, recall, threshold, reached in (
        (0.75, None, 0.7, True), (None, 0.2, 0.9, True), (None, 0.9, 0.5, False),
    ):  # fmt: skip
        choice = choose_threshold(curve, precision=precision, recall=recall, otherwise=0.3)
        assert (choice.threshold, choice.reached) == (threshold, reached)
    nothing = curve_of(np.zeros(0), np.zeros(0, dtype=bool), 4)
    assert best_point(nothing) is None and nothing.average_precision == 0
