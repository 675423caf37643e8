"""Precision and recall curves, and points on them."""

import math
from pathlib import Path

import numpy as np
import pytest

from centernet2.data.readers.coco import load_coco
from centernet2.evaluation.coco_metrics import coco_metrics
from centernet2.evaluation.curves import (
    best_point,
    class_curves,
    curve_of,
    point_of_precision,
    point_of_recall,
)
from centernet2.evaluation.matching import match_detections
from tests.helpers.evaluation import in_positions, random_results, write_random_annotations


def test_average_precision_of_curves_equals_coco(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    content = write_random_annotations(tmp_path / "truth.json", rng, images=20, classes=5)
    dataset = load_coco(tmp_path / "truth.json", tmp_path, name="random")
    results = in_positions(dataset, random_results(rng, content, decimals=3, noise=400))
    matches = match_detections(dataset, results, iou_thresholds=(0.5, 0.75))
    metrics = coco_metrics(dataset, results)
    for index, name in ((0, "AP50"), (1, "AP75")):
        curves = class_curves(matches, 5, threshold_index=index)
        precisions = [100 * curve.average_precision for curve in curves]
        assert math.isnan(precisions[4])
        # at equal scores COCO's curve has a point for each detection, ours one for each score
        assert np.nanmean(precisions) == pytest.approx(metrics[f"bbox/{name}"], abs=0.3)


def test_points_on_a_curve() -> None:
    """By descending score: right, wrong, two right ones at once, wrong; four objects."""
    scores = np.array([0.5, 0.9, 0.8, 0.7, 0.7])
    curve = curve_of(scores, np.array([False, True, False, True, True]), 4)
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.7, 0.5]
    assert curve.precision.tolist() == [1, 0.5, 0.75, 0.6]
    assert curve.recall.tolist() == [0.25, 0.25, 0.75, 0.75]
    best, precise, complete = (
        best_point(curve),
        point_of_precision(curve, 0.75),
        point_of_recall(curve, 0.2),
    )
    assert best is not None and (best.threshold, best.f1) == (0.7, 0.75)
    assert precise is not None and precise.threshold == 0.7
    assert complete is not None and complete.threshold == 0.9
    assert point_of_recall(curve, 0.9) is None
    nothing = curve_of(np.zeros(0), np.zeros(0, dtype=bool), 4)
    assert best_point(nothing) is None and nothing.average_precision == 0
