"""Analysis of an evaluation: curves, confusion, errors, calibration, examples.

Everything is measured at an IoU of 0.5. Examples and confusion count the detections above the score
with the highest F1 over all classes, which is what a user with a single threshold sees.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hotcoco import COCOeval

from centernet2.evaluation.coco_metrics import detection_limit, evaluator_of
from centernet2.evaluation.curves import (
    Curve,
    OperatingPoint,
    best_point,
    class_curves,
    overall_curve,
)
from centernet2.evaluation.examples import (
    ON_OBJECT_IOU,
    NearestObjects,
    find_examples,
    nearest_objects,
)
from centernet2.evaluation.ground_truth import GroundTruth, as_coco, load_detections
from centernet2.evaluation.matching import Matches, match_detections
from centernet2.evaluation.stage_metrics import (
    BINS,
    Bins,
    bin_scores,
    proposal_bins,
    proposal_recall,
    stage_scores,
)
from centernet2.structures import FloatArray

THRESHOLDS = np.linspace(0, 1, 101)
# TIDE's kinds of errors (arXiv 2008.08115) in the order in which they are shown
ERROR_KINDS = {
    "Cls": "wrong class",
    "Loc": "poor localization",
    "Both": "wrong class and poor localization",
    "Dupe": "duplicate detection",
    "Bkg": "background",
    "Miss": "missed object",
}


def analyze(
    truth: GroundTruth,
    results: FloatArray,
    metrics: Mapping[str, float],
    stages: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Analyze an evaluation and return the record as JSON holds it.

    Args:
        results: COCO results [D, 7] in the order of the images.
        metrics: in percent.
        stages: the record of the detector's stages of each image, in the same order, if known.
    """
    ground_truth = as_coco(truth)
    evaluator = evaluator_of(truth, ground_truth, load_detections(ground_truth, results))
    limit = detection_limit(truth)
    matches = match_detections(truth, results)
    curves = class_curves(matches, len(truth.class_names))
    overall = best_point(overall_curve(matches))
    threshold = overall.threshold if overall else 0.0
    nearest, objects = nearest_objects(matches, results), sum(curve.total for curve in curves)
    return {
        "metrics": {name: _rounded(value) for name, value in metrics.items()},
        "images": len(truth),
        "objects": objects,
        "detections": len(results),
        "best": _point(overall),
        "classes": [
            _class_record(name, curve, metrics)
            for name, curve in zip(truth.class_names, curves, strict=True)
        ],
        "confusion": _confusion(truth.class_names, evaluator, threshold, limit),
        "errors": _errors(evaluator, limit),
        "first_stage": proposal_recall(stages) if stages and objects else None,
        "calibration": _calibration(matches, nearest, stages),
        "examples": find_examples(truth, results, matches, nearest, threshold),
    }


def _class_record(name: str, curve: Curve, metrics: Mapping[str, float]) -> dict[str, Any]:
    at_recall = curve.precision_at_recalls() if curve.total else np.zeros(0)
    # thresholds descend: the detections that score at least t end before position kept[t]
    kept = np.searchsorted(-curve.thresholds, -THRESHOLDS, side="right")
    columns = {
        "precision": (curve.precision, 1.0),
        "recall": (curve.recall, 0.0),
        "f1": (curve.f1, 0.0),
    }
    at_threshold = {
        key: np.insert(column, 0, start)[kept] for key, (column, start) in columns.items()
    }
    return {
        "name": name,
        "objects": curve.total,
        "AP": _rounded(metrics.get(f"bbox/AP/{name}", math.nan)),
        "AP50": _rounded(100 * curve.average_precision),
        "best": _point(best_point(curve)),
        "precision_at_recall": at_recall.round(4).tolist(),
        "at_threshold": {
            key: column.round(4).tolist() if curve.total else []
            for key, column in at_threshold.items()
        },
    }


def _confusion(
    names: Sequence[str], evaluator: COCOeval, threshold: float, limit: int
) -> dict[str, Any]:
    """Count objects by class (rows) and detected class (columns), background last."""
    counted = evaluator.confusion_matrix(iou_thr=0.5, max_det=limit, min_score=threshold)
    order = [counted["cat_ids"].index(label + 1) for label in range(len(names))]
    order.append(counted["num_cats"])
    matrix = np.asarray(counted["matrix"])[np.ix_(order, order)].astype(np.int64)
    return {"threshold": threshold, "classes": [*names], "matrix": matrix.tolist()}


def _errors(evaluator: COCOeval, limit: int) -> list[dict[str, Any]]:
    """Count each kind of error, and compute by how much AP50 would rise without it."""
    evaluator.params.max_dets = [limit]
    evaluator.evaluate()
    errors = evaluator.tide_errors(pos_thr=0.5, bg_thr=0.1)
    return [
        {
            "kind": text,
            "count": int(errors["counts"][kind]),
            "cost": _rounded(100 * errors["delta_ap"][kind]),
        }
        for kind, text in ERROR_KINDS.items()
    ]


def _calibration(
    matches: Matches, nearest: NearestObjects, stages: Sequence[Mapping[str, Any]] | None
) -> list[dict[str, Any]]:
    """Calibrate the score and, if known, its two factors against the precision."""
    counted = ~matches.ignored[0]
    right = matches.hits[0].astype(np.float64)
    bins = bin_scores(matches.scores[counted], right[counted])
    of_score = _bins("score", "a detection is right, by its score as given", bins)
    if not stages:
        return [of_score]
    first, second = (scores[matches.rows] for scores in stage_scores(stages))
    on_object = counted & (nearest.iou >= ON_OBJECT_IOU)
    same_class = (nearest.label == matches.labels).astype(np.float64)
    of_second = bin_scores(second[on_object], same_class[on_object])
    of_product = bin_scores((first * second)[counted], right[counted])
    return [
        _bins("first stage", "a proposal is on an object", proposal_bins(stages)),
        _bins("second stage", "a detection on an object has its class", of_second),
        _bins("product", "a detection is right", of_product),
        of_score,
    ]


def _bins(name: str, meaning: str, bins: Bins) -> dict[str, Any]:
    filled = np.maximum(bins.counts, 1)
    return {
        "name": name,
        "meaning": meaning,
        "error": _rounded(100 * bins.error),
        "counts": bins.counts.astype(int).tolist(),
        "scores": (bins.scores / filled).round(4).tolist(),
        "precision": (bins.hits / filled).round(4).tolist(),
        "edges": np.linspace(0, 1, BINS + 1).round(2).tolist(),
    }


def _point(point: OperatingPoint | None) -> dict[str, float] | None:
    if point is None:
        return None
    return {name: round(value, 4) for name, value in point._asdict().items()}


def _rounded(value: float) -> float | None:
    """Round a number; NaN becomes None, since JSON has no NaN."""
    return round(value, 4) if math.isfinite(value) else None
