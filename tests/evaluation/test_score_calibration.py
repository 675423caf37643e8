"""Calibrations are fitted to detections, and their error is measured on others."""

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from centernet2.evaluation.score_calibration import (
    Observations,
    calibrate_labels,
    calibration_errors,
    fit_calibration,
)


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def observations(count: int = 4000) -> Observations:
    """Draw detections of two classes, which differ in temperature and offset, in 80 images."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    logits = rng.normal(0, 2, count)
    p = sigmoid(logits / np.array([2.0, 0.5])[labels] + np.array([-1.0, 0.5])[labels])
    on_object = rng.random(count) < np.sqrt(p)
    right = on_object & (rng.random(count) < np.sqrt(p))
    scores = sigmoid(logits)
    images = np.sort(rng.integers(0, 80, count))
    return Observations(scores, scores, scores, labels, images, right, on_object)


def test_temperature_and_offset_of_each_class_are_found() -> None:
    fitted = fit_calibration(observations(40_000), 2)
    np.testing.assert_allclose(fitted.temperatures, [2, 0.5], rtol=0.1)
    np.testing.assert_allclose(fitted.offsets, [-1, 0.5], atol=0.1)


def test_class_without_detections_has_the_fit_of_all() -> None:
    observed = observations()
    fitted = fit_calibration(observed, 3)
    whole = fit_calibration(observed._replace(labels=np.zeros_like(observed.labels)), 2)
    assert (fitted.temperatures[2], fitted.offsets[2]) == (whole.temperatures[1], whole.offsets[1])
    assert fitted.object_temperature == whole.object_temperature


def test_memory_does_not_grow_with_the_number_of_classes() -> None:
    observed = observations(20_000)
    tracemalloc.start()
    fit_calibration(observed, 500)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500 * 20_000 / 2  # bytes: half of a mask of the detections for each class


def test_errors_after_are_measured_on_the_other_half() -> None:
    errors = calibration_errors(observations(), 2)
    for name in ("score", "objectness"):
        assert errors[name].after < errors[name].before / 2, name
    unseen = observations()._replace(right=np.arange(4000) % 2 == 0)  # nothing can be learned
    assert calibration_errors(unseen, 2)["score"].after < 5


@pytest.mark.parametrize("kind", ["reversed", "all right", "none right", "none"])
def test_scores_of_a_class_keep_their_order(kind: str) -> None:
    observed = observations(0 if kind == "none" else 400)
    right = {"reversed": observed.scores < 0.3, "all right": observed.scores >= 0}
    observed = observed._replace(right=right.get(kind, np.zeros(len(observed.scores), dtype=bool)))
    fitted = fit_calibration(observed, 2)
    scores = np.linspace(0.01, 0.99, 50)
    for label in (0, 1):
        calibrated = calibrate_labels(fitted, scores, np.full(50, label))
        assert (np.diff(calibrated) > 0).all() and 0 < calibrated[0] < calibrated[-1] < 1
