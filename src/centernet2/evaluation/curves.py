"""Precision, recall and F1 by score threshold, and the choice of thresholds."""

from typing import NamedTuple

import numpy as np

from centernet2.evaluation.matching import Matches
from centernet2.structures import BoolArray, FloatArray

RECALLS = np.linspace(0, 1, 101)  # where COCO samples a curve


class Curve(NamedTuple):
    """Precision and recall at each of K scores that occur, in descending order."""

    thresholds: FloatArray  # [K]
    precision: FloatArray  # [K]
    recall: FloatArray  # [K]; NaN without objects
    total: int  # number of objects

    @property
    def f1(self) -> FloatArray:  # [K]
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return np.divide(
            2 * self.precision * self.recall, total, out=np.zeros_like(total), where=total > 0
        )

    @property
    def average_precision(self) -> float:
        """Mean of the precision at COCO's recalls; NaN without objects."""
        return float(self.precision_at_recalls().mean()) if self.total else float("nan")

    def precision_at_recalls(self) -> FloatArray:  # [101]
        """Return the best precision at each of COCO's recalls, or at a higher one."""
        best = np.maximum.accumulate(self.precision[::-1])[::-1]
        places = np.searchsorted(self.recall, RECALLS, side="left")
        sampled: FloatArray = np.append(best, 0)[places]  # 0 beyond the last recall
        return sampled


class OperatingPoint(NamedTuple):
    """A score threshold with its precision, recall and F1."""

    threshold: float
    precision: float
    recall: float
    f1: float


def curve_of(scores: FloatArray, hits: BoolArray, total: int) -> Curve:
    """Compute the curve of detections [D], without ignored ones, for `total` objects."""
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], hits[order].cumsum()
    last = (
        np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        if len(ranked)
        else np.zeros(0, dtype=int)
    )
    kept = last + 1  # detections with at least the score
    recall = right[last] / total if total else np.full(len(last), np.nan)
    return Curve(ranked[last], right[last] / np.maximum(kept, 1), recall, total)


def class_curves(matches: Matches, num_classes: int, *, threshold_index: int = 0) -> list[Curve]:
    """The curve of each class at one of the IoU thresholds of `matches`."""
    totals = matches.totals(num_classes)
    hits, counted = matches.hits[threshold_index], ~matches.ignored[threshold_index]
    order = np.argsort(matches.labels, kind="stable")
    starts = np.searchsorted(matches.labels[order], np.arange(num_classes + 1))
    curves = []
    for label in range(num_classes):
        rows = order[starts[label] : starts[label + 1]]
        rows = rows[counted[rows]]
        curves.append(curve_of(matches.scores[rows], hits[rows], int(totals[label])))
    return curves


def overall_curve(matches: Matches) -> Curve:
    """The curve of all classes together, at the first IoU threshold."""
    counted = ~matches.ignored[0]
    total = int(matches.objects.counted.sum())
    return curve_of(matches.scores[counted], matches.hits[0][counted], total)


def best_point(curve: Curve) -> OperatingPoint | None:
    """The point of highest F1; None without detections or objects."""
    return _point(curve, int(curve.f1.argmax())) if len(curve.thresholds) and curve.total else None


def point_of_precision(curve: Curve, wanted: float) -> OperatingPoint | None:
    """The lowest threshold with at least this precision, for the highest recall."""
    enough = np.flatnonzero(curve.precision >= wanted)
    return _point(curve, int(enough[-1])) if len(enough) and curve.total else None


def point_of_recall(curve: Curve, wanted: float) -> OperatingPoint | None:
    """The highest threshold with at least this recall."""
    enough = np.flatnonzero(curve.recall >= wanted)
    return _point(curve, int(enough[0])) if len(enough) else None


class ThresholdChoice(NamedTuple):
    """The threshold chosen for a class."""

    point: OperatingPoint | None  # None: no objects or detections; the overall threshold is taken
    threshold: float
    reached: bool  # the goal
    goal: str = "the highest F1"  # or the precision or recall that was asked for


def choose_threshold(
    curve: Curve, *, precision: float | None, recall: float | None, otherwise: float
) -> ThresholdChoice:
    """Choose the threshold for a precision or a recall; by default for the best F1.

    If the curve does not reach it, the nearest threshold is taken. `otherwise` is for a class
    without objects or detections.
    """
    goal = ThresholdChoice._field_defaults["goal"]
    if precision is not None:
        goal = f"precision {100 * precision:g} %"
    elif recall is not None:
        goal = f"recall {100 * recall:g} %"
    if not curve.total or not len(curve.thresholds):
        return ThresholdChoice(None, otherwise, False, goal)
    wanted, nearest = best_point(curve), 0
    if precision is not None:
        wanted, nearest = point_of_precision(curve, precision), int(curve.precision.argmax())
    elif recall is not None:
        wanted, nearest = point_of_recall(curve, recall), len(curve.thresholds) - 1
    point = wanted or _point(curve, nearest)
    return ThresholdChoice(point, point.threshold, wanted is not None, goal)


def _point(curve: Curve, k: int) -> OperatingPoint:
    columns = (curve.thresholds, curve.precision, curve.recall, curve.f1)
    return OperatingPoint(*(float(column[k]) for column in columns))
