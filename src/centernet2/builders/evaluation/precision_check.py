"""What an exported file of lower precision loses on data with ground truth."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from centernet2.builders.data.class_matching import MatchedData
from centernet2.builders.evaluation.evaluator import (
    max_detections_of,
    score_exported,
    score_matched,
)
from centernet2.config import Config
from centernet2.evaluation import GroundTruth, Scored, match_detections
from centernet2.models.detector import Detector
from centernet2.predict.exported_detector import ExportedDetector
from centernet2.predict.predictor import DEFAULT_THRESHOLD
from centernet2.structures import FloatArray

SUMMARY = ("AP", "AP50", "AP75")
SCORE = 5  # column of results
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrecisionCheck:
    """Evaluates a detector and its exported file, before the file appears.

    Metrics are in percent: AP, AP50, AP75, and of each class AP ("AP/cat") and recall
    ("recall/cat"). Recall is the share of objects with a box of an IoU of 0.5 among those that
    `predict` shows by default.
    """

    detector: Detector
    config: Config  # of the evaluation
    matched: MatchedData  # to the classes of the detector
    accepted_loss: float  # of AP, in percent

    def __call__(self, path: Path) -> dict[str, Any]:
        """Return the metrics before and after for the certificate of the file at a path.

        Raises:
            ValueError: the file loses more AP than is accepted.
        """
        plain = self.config.replace({"TEST.AUG.ENABLED": False})  # as the file detects
        detector, dataset = self.detector, self.matched.dataset
        logger.info("evaluating the detector, then the file, on %s", dataset.name)
        before = score_matched(detector, self.matched, plain, None)
        count = max_detections_of(detector, plain)
        after = score_exported(ExportedDetector(path), self.matched, plain, max_detections=count)
        _require_small_loss(before.metrics, after.metrics, self.accepted_loss)
        return {
            "evaluation": {
                "data": dataset.name,
                "before": class_metrics(dataset, before),
                "after": class_metrics(dataset, after),
            }
        }


def class_metrics(truth: GroundTruth, scored: Scored) -> dict[str, float]:
    """Return the AP summary, and the AP and recall of each class."""
    shown = scored.results[scored.results[:, SCORE] >= DEFAULT_THRESHOLD]
    boxes = {name.removeprefix("bbox/"): value for name, value in scored.metrics.items()}
    kept = [name for name in boxes if name in SUMMARY or name.startswith("AP/")]
    return {**{name: boxes[name] for name in kept}, **_class_recalls(truth, shown)}


def _class_recalls(truth: GroundTruth, results: FloatArray) -> dict[str, float]:
    """Return the recall of each class at an IoU of 0.5; NaN without objects."""
    matches = match_detections(truth, results)
    count = len(truth.class_names)
    hits = np.bincount(matches.labels[matches.hits[0]], minlength=count)
    totals = matches.totals(count)
    recalls = np.where(totals > 0, 100 * hits / np.maximum(totals, 1), np.nan).tolist()
    return {f"recall/{name}": each for name, each in zip(truth.class_names, recalls, strict=True)}


def _require_small_loss(
    before: Mapping[str, float], after: Mapping[str, float], accepted: float
) -> None:
    whole, exported = before["bbox/AP"], after["bbox/AP"]
    loss = whole - exported
    if loss > accepted:
        raise ValueError(
            f"the file has {exported:.2f} AP and the detector {whole:.2f}: it loses "
            f"{loss:.2f}, and {accepted:g} is accepted; calibrate with more images of the kind "
            "that will be detected on, or accept the loss with --accepted-loss"
        )
