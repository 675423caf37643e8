"""Precision, recall and F1 of one class over the score threshold, and the thresholds that follow from them."""

from typing import NamedTuple

import numpy as np

from centernet2.evaluation.ground_truth import FloatArray
from centernet2.evaluation.matching import BoolArray, Matches

RECALLS = np.linspace(0, 1, 101)  # where COCO samples a curve


class Curve(NamedTuple):
    """What keeping the detections with at least a score gives; one row for each score that occurs, falling."""

    thresholds: FloatArray  # [K]
    precision: FloatArray  # [K]
    recall: FloatArray  # [K]; NaN without objects
    total: int  # objects to find

    @property
    def f1(self) -> FloatArray:  # [K]
        """The harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return np.divide(
            2 * self.precision * self.recall, total, out=np.zeros_like(total), where=total > 0
        )

    @property
    def average_precision(self) -> float:
        """The mean of the best precision at COCO's 101 recalls; NaN without objects."""
        if not self.total:
            return float("nan")
        best = np.maximum.accumulate(self.precision[::-1])[::-1]
        places = np.searchsorted(self.recall, RECALLS, side="left")
        return float(
            np.where(places < len(best), np.append(best, 0)[places.clip(max=len(best))], 0).mean()
        )


class Point(NamedTuple):
    """A threshold and what it gives."""

    threshold: float
    precision: float
    recall: float
    f1: float


def curve_of(scores: FloatArray, hits: BoolArray, total: int) -> Curve:
    """The curve of detections [D] that count: those that are ignored are left out beforehand."""
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


def class_curves(matches: Matches, num_classes: int, *, overlap: int = 0) -> list[Curve]:
    """The curve of each class at one of the overlaps."""
    totals = matches.totals(num_classes)
    counted = ~matches.ignored[overlap]
    order = np.argsort(matches.labels, kind="stable")
    starts = np.searchsorted(matches.labels[order], np.arange(num_classes + 1))
    curves = []
    for label in range(num_classes):
        rows = order[starts[label] : starts[label + 1]]
        rows = rows[counted[rows]]
        curves.append(
            curve_of(matches.scores[rows], matches.hits[overlap][rows], int(totals[label]))
        )
    return curves


def best_point(curve: Curve) -> Point | None:
    """Where F1 is highest; None without detections or objects."""
    return _point(curve, int(curve.f1.argmax())) if len(curve.thresholds) and curve.total else None


def point_of_precision(curve: Curve, wanted: float) -> Point | None:
    """The lowest threshold that gives at least this precision, which is the one with the highest recall."""
    enough = np.flatnonzero(curve.precision >= wanted)
    return _point(curve, int(enough[-1])) if len(enough) and curve.total else None


def point_of_recall(curve: Curve, wanted: float) -> Point | None:
    """The highest threshold that gives at least this recall."""
    enough = np.flatnonzero(curve.recall >= wanted)
    return _point(curve, int(enough[0])) if len(enough) else None


class Choice(NamedTuple):
    """The threshold chosen for a class."""

    point: (
        Point | None
    )  # None where nothing is known of the class: it takes the threshold of all classes together
    threshold: float
    reached: bool  # what was asked for


def choose(
    curve: Curve, *, precision: float | None, recall: float | None, otherwise: float
) -> Choice:
    """The threshold that gives the precision or the recall; without either, the highest F1.

    Where the curve does not reach it, the threshold that comes nearest. `otherwise` is for a class without objects or
    detections.
    """
    if not curve.total or not len(curve.thresholds):
        return Choice(None, otherwise, False)
    wanted, nearest = best_point(curve), 0
    if precision is not None:
        wanted, nearest = point_of_precision(curve, precision), int(curve.precision.argmax())
    elif recall is not None:
        wanted, nearest = point_of_recall(curve, recall), len(curve.thresholds) - 1
    point = wanted or _point(curve, nearest)
    return Choice(point, point.threshold, wanted is not None)


def _point(curve: Curve, k: int) -> Point:
    return Point(
        *(
            float(column[k])
            for column in (curve.thresholds, curve.precision, curve.recall, curve.f1)
        )
    )
