"""Metrics of detections, and analysis of their errors."""

from centernet2.evaluation.analysis import analyze
from centernet2.evaluation.bootstrap import Difference, compare_results
from centernet2.evaluation.curves import (
    ThresholdChoice,
    best_point,
    choose_threshold,
    class_curves,
    overall_curve,
)
from centernet2.evaluation.examples import boxes_of_image
from centernet2.evaluation.ground_truth import FloatArray, GroundTruth, IntArray
from centernet2.evaluation.inference import Interrupted
from centernet2.evaluation.matching import match_detections
from centernet2.evaluation.results import read_results
from centernet2.evaluation.scoring import (
    IMAGES_SKIPPED,
    SKIPPED_FILE,
    EvaluationInterrupted,
    SkippedImage,
    score_detector,
    score_results_file,
)
from centernet2.evaluation.stage_metrics import PROPOSAL_COUNTS
from centernet2.evaluation.stream import ResultStream, weights_digest

__all__ = [
    "IMAGES_SKIPPED",
    "PROPOSAL_COUNTS",
    "SKIPPED_FILE",
    "Difference",
    "EvaluationInterrupted",
    "FloatArray",
    "GroundTruth",
    "IntArray",
    "Interrupted",
    "ResultStream",
    "SkippedImage",
    "ThresholdChoice",
    "analyze",
    "best_point",
    "boxes_of_image",
    "choose_threshold",
    "class_curves",
    "compare_results",
    "match_detections",
    "overall_curve",
    "read_results",
    "score_detector",
    "score_results_file",
    "weights_digest",
]
