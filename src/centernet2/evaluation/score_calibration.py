"""Fit a calibration of scores to detections, and measure its error.

The score of a detection is calibrated for each class, that of its proposal for all together. The
fit is a logistic regression on the logit: a temperature and an offset. A temperature alone leaves
a logit of 0 where it is, but most detections of a middle score are wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from centernet2.evaluation.examples import ON_OBJECT_IOU, nearest_objects
from centernet2.evaluation.ground_truth import GroundTruth
from centernet2.evaluation.matching import match_detections
from centernet2.evaluation.stage_metrics import bin_scores, stage_scores
from centernet2.ops.calibration import LEAST, calibrate, factors
from centernet2.structures import BoolArray, FloatArray, IntArray, ScoreCalibration

PRIOR_STRENGTH = 1.0  # of the fit for all classes, in the fit for one of them
STEPS, LONGEST_STEP = 50, 1.0  # of Newton's method, which converges in about ten
FARTHEST = 2.0  # that the offset of the objectness is moved
LEAST_SLOPE = 0.05  # 1 / temperature: a calibrated score must rise with the score


class Observations(NamedTuple):
    """The D detections that count, with the scores of both stages."""

    scores: FloatArray  # [D]
    objectness: FloatArray  # [D] of the first stage
    class_probability: FloatArray  # [D] of the second stage
    labels: IntArray  # [D] of the data set
    images: IntArray  # [D] index
    right: BoolArray  # [D] class and box; of several detections of an object the best one
    on_object: BoolArray  # [D] of whatever class

    def take(self, rows: BoolArray) -> "Observations":
        """Select detections by [D] bool."""
        return Observations._make(column[rows] for column in self)


class CalibrationError(NamedTuple):
    """Expected calibration errors in percent."""

    before: float
    after: float


def observe(
    truth: GroundTruth, results: FloatArray, stages: Sequence[Mapping[str, Any]]
) -> Observations:
    """Compare results [D, 7] with the ground truth, at an IoU of 0.5.

    Results, and the records of the stages, are in the order of the images.
    """
    matches = match_detections(truth, results)
    nearest = nearest_objects(matches, results)
    first, second = (column[matches.rows] for column in stage_scores(stages))
    everything = Observations(
        matches.scores, first, second, matches.labels, matches.images, matches.hits[0],
        nearest.iou >= ON_OBJECT_IOU,
    )  # fmt: skip
    return everything.take(~matches.ignored[0])


def fit_calibration(observed: Observations, num_classes: int) -> ScoreCalibration:
    """Fit the calibration of each class, and that of the first stage."""
    whole = _fit(observed.scores, observed.right, (1.0, 0.0))
    rows = (observed.labels == label for label in range(num_classes))  # [D], one at a time
    lines = [_fit(observed.scores[own], observed.right[own], whole) for own in rows]
    slope, offset = _fit(observed.objectness, observed.on_object, (1.0, 0.0))
    temperatures, offsets = tuple(1 / own[0] for own in lines), tuple(own[1] for own in lines)
    fitted = ScoreCalibration(temperatures, offsets, 1 / slope, offset)
    return _with_fair_objectness(fitted, observed)


def _with_fair_objectness(
    calibration: ScoreCalibration, observed: Observations
) -> ScoreCalibration:
    """Set the offset so that mean objectness is the share of detections on objects.

    Objectness is at least the score, which alone would raise the mean.
    """
    low, high = calibration.object_offset - FARTHEST, calibration.object_offset
    for _ in range(STEPS):
        calibration = replace(calibration, object_offset=(low + high) / 2)
        excess = (_probabilities(calibration, observed)[1] - observed.on_object).sum()
        low, high = (low, (low + high) / 2) if excess > 0 else ((low + high) / 2, high)
    return calibration


def _fit(scores: FloatArray, right: BoolArray, prior: tuple[float, float]) -> tuple[float, float]:
    """Return slope and offset of the logistic regression of `right` on score logits.

    Without detections, they are those of `prior`.
    """
    p = scores.clip(LEAST, 1 - LEAST)
    x = np.stack([np.log(p / (1 - p)), np.ones_like(p)], axis=1)  # [D, 2]
    line = center = np.array(prior)
    for _ in range(STEPS):
        fitted = 1 / (1 + np.exp(-x @ line))
        gradient = x.T @ (fitted - right) + PRIOR_STRENGTH * (line - center)
        curvature = (x * (fitted * (1 - fitted))[:, None]).T @ x + PRIOR_STRENGTH * np.eye(2)
        line = line - np.linalg.solve(curvature, gradient).clip(-LONGEST_STEP, LONGEST_STEP)
        line[0] = max(line[0], LEAST_SLOPE)
    return float(line[0]), float(line[1])


def calibrate_labels(
    calibration: ScoreCalibration, scores: FloatArray, labels: IntArray
) -> FloatArray:
    """Return calibrated scores [D] of detections by their labels."""
    columns = (calibration.temperatures, calibration.offsets)
    temperatures, offsets = (torch.tensor(each, dtype=torch.float64)[labels] for each in columns)
    calibrated: FloatArray = calibrate(torch.from_numpy(scores), temperatures, offsets).numpy()
    return calibrated


def calibration_errors(observed: Observations, num_classes: int) -> dict[str, CalibrationError]:
    """Measure errors before and after a calibration on detections it has not seen.

    It is fitted on every second image and measured on the others, then the other way round.
    """
    half = np.searchsorted(np.unique(observed.images), observed.images) % 2
    after = np.zeros((3, len(half)))
    for part in (0, 1):
        rows = half == part
        own = fit_calibration(observed.take(~rows), num_classes)
        after[:, rows] = _probabilities(own, observed.take(rows))
    before = observed.scores, observed.objectness, observed.class_probability
    everything = np.ones(len(half), dtype=bool)
    kinds = {
        "score": (observed.right, everything),
        "objectness": (observed.on_object, everything),
        "class, given an object": (observed.right, observed.on_object),
    }
    columns = zip(kinds.items(), before, after, strict=True)
    return {
        name: CalibrationError(
            *(100 * bin_scores(p[rows], right[rows].astype(np.float64)).error for p in (b, a))
        )
        for (name, (right, rows)), b, a in columns
    }


def _probabilities(calibration: ScoreCalibration, observed: Observations) -> FloatArray:
    """Return score, objectness and class probability: [3, D]."""
    scores = torch.from_numpy(calibrate_labels(calibration, observed.scores, observed.labels))
    first = torch.from_numpy(observed.objectness)
    objectness = calibrate(first, calibration.object_temperature, calibration.object_offset)
    probabilities: FloatArray = torch.stack([scores, *factors(scores, objectness)]).numpy()
    return probabilities
