"""Paired bootstrap: COCO's metrics, image weights, real and chance differences."""

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from centernet2.evaluation.bootstrap import _metrics, _prepare, compare_pairs
from centernet2.evaluation.coco_metrics import coco_metrics
from centernet2.report.tables import differences_table
from tests.helpers.evaluation import random_set


def test_metrics_of_all_images_equal_coco(tmp_path: Path) -> None:
    dataset, results = random_set(tmp_path, 1, classes=4, decimals=2, noise=300)
    metrics = coco_metrics(dataset, results)
    pairs = [(results, results)]
    differences = compare_pairs(dataset, pairs, samples=5, confidence=0.9, seed=0)
    for name, each in differences.items():
        assert each.first == each.second or np.isnan(each.first)
        assert each.first == pytest.approx(metrics[f"bbox/{name}"], abs=1e-6, nan_ok=True)
        assert not each.is_real and (each.low == each.high == 0 or np.isnan(each.low))


def test_image_drawn_twice_counts_twice(tmp_path: Path) -> None:
    """Compare an image that is drawn k times with k copies in the data set."""
    dataset, results = random_set(tmp_path, 2, images=8, classes=3, decimals=6, noise=60)
    weights = np.array([0, 2, 1, 0, 3, 1, 1, 0])
    drawn = np.repeat(np.arange(8), weights)
    repeated = dataset.subset(drawn)
    parts = []
    for new, image in enumerate(drawn):
        rows = results[results[:, 0] == image].copy()
        rows[:, 0] = new
        parts.append(rows)
    metrics = coco_metrics(repeated, np.concatenate(parts))
    weighted = _metrics(_prepare(dataset, results), weights)
    expected = [
        metrics[f"bbox/{name}"]
        for name in ("AP", "AP50", "AP75", *(f"AP/{c}" for c in dataset.class_names))
    ]
    # copies of an image have equal scores
    assert weighted.tolist() == pytest.approx(expected, abs=0.3, nan_ok=True)


def test_real_difference_is_told_from_chance(tmp_path: Path) -> None:
    dataset, results = random_set(tmp_path, 3, images=60, classes=3, decimals=6, noise=600)
    worse = results.copy()
    worse[:, 1:3] += 12
    equal = results.copy()
    equal[:, 1:3] += np.random.default_rng(0).normal(0, 0.2, (len(results), 2))
    for other, real in ((worse, True), (equal, False)):
        pairs = [(other, results)]
        each = compare_pairs(dataset, pairs, samples=100, confidence=0.95, seed=0)["AP50"]
        assert each.is_real is real
        assert each.low <= each.second - each.first <= each.high
    console = Console(width=100, record=True)
    console.print(differences_table({"AP": each, "AP/class 0": each}, confidence=0.95))
    assert "may be chance" in console.export_text()


def test_pairs_are_compared_by_their_means(tmp_path: Path) -> None:
    dataset, good = random_set(tmp_path, 4, classes=2, decimals=6, noise=100)
    bad = good.copy()
    bad[:, 1:3] += 6
    options = {"samples": 50, "confidence": 0.95, "seed": 0}
    single = compare_pairs(dataset, [(good, bad)], **options)["AP"]
    joined = compare_pairs(dataset, [(good, bad), (good, good)], **options)["AP"]
    assert single.low < single.high < 0
    # the same draws, and half of the difference
    assert joined.first == pytest.approx(single.first)
    assert joined.second == pytest.approx((single.first + single.second) / 2)
    assert (joined.low, joined.high) == pytest.approx((single.low / 2, single.high / 2))
