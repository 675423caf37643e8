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


def class_curves(matches: Matches, num_classes: int) -> list[Curve]:
    """The curve of each class, at the first IoU threshold."""
    totals = matches.totals(num_classes)
    hits, counted = matches.hits[0], ~matches.ignored[0]
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


class ThresholdChoice(NamedTuple):
    """The threshold chosen for a class."""

    point: OperatingPoint | None  # None: no objects or detections; the overall threshold is taken
    threshold: float
    reached: bool = False  # the goal
    goal: str = ""  # the precision or recall that was asked for; empty: the highest F1


def choose_threshold(
    curve: Curve, *, precision: float | None, recall: float | None, otherwise: float
) -> ThresholdChoice:
    """Choose the threshold for a precision or a recall; by default for the best F1.

    It is the lowest one with at least that precision, or the highest one with at least that recall.
    If the curve does not reach it, the nearest threshold is taken. `otherwise` is for a class
    without objects or detections.
    """
    best = best_point(curve)
    if best is None:
        return ThresholdChoice(None, otherwise)
    if precision is not None:
        goal, enough = f"precision {100 * precision:g} %", curve.precision >= precision
        k = np.flatnonzero(enough)[-1] if enough.any() else curve.precision.argmax()
    elif recall is not None:
        goal, enough = f"recall {100 * recall:g} %", curve.recall >= recall
        k = np.flatnonzero(enough)[0] if enough.any() else len(enough) - 1
    else:
        return ThresholdChoice(best, best.threshold, True)
    point = _point(curve, int(k))
    return ThresholdChoice(point, point.threshold, bool(enough.any()), goal)


def _point(curve: Curve, k: int) -> OperatingPoint:
    columns = (curve.thresholds, curve.precision, curve.recall, curve.f1)
    return OperatingPoint(*(float(column[k]) for column in columns))
