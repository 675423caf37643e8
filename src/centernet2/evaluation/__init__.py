"""Metrics of detections, and analysis of their errors."""

from centernet2.evaluation.analysis import analyze
from centernet2.evaluation.bootstrap import Difference, compare_pairs
from centernet2.evaluation.curves import (
    ThresholdChoice,
    best_point,
    choose_threshold,
    class_curves,
    overall_curve,
)
from centernet2.evaluation.detection_files import (
    RESULTS_FILE,
    STAGES_FILE,
    read_stages,
    require_replaceable_detections,
)
from centernet2.evaluation.examples import boxes_of_image
from centernet2.evaluation.ground_truth import GroundTruth, source_sets, without_images
from centernet2.evaluation.inference import Interrupted
from centernet2.evaluation.matching import match_detections
from centernet2.evaluation.score_calibration import (
    CalibrationError,
    calibrate_labels,
    calibration_errors,
    fit_calibration,
    observe,
)
from centernet2.evaluation.scoring import (
    IMAGES_SKIPPED,
    SKIPPED_FILE,
    EvaluationInterrupted,
    Scored,
    SkippedImage,
    read_skipped,
    score_detector,
    score_results,
)
from centernet2.evaluation.stage_metrics import PROPOSAL_COUNTS
from centernet2.evaluation.stream import ResultStream, weights_digest
from centernet2.evaluation.unknown_fit import with_unknown

__all__ = [
    "IMAGES_SKIPPED",
    "PROPOSAL_COUNTS",
    "RESULTS_FILE",
    "SKIPPED_FILE",
    "STAGES_FILE",
    "CalibrationError",
    "Difference",
    "EvaluationInterrupted",
    "GroundTruth",
    "Interrupted",
    "ResultStream",
    "Scored",
    "SkippedImage",
    "ThresholdChoice",
    "analyze",
    "best_point",
    "boxes_of_image",
    "calibrate_labels",
    "calibration_errors",
    "choose_threshold",
    "class_curves",
    "compare_pairs",
    "fit_calibration",
    "match_detections",
    "observe",
    "overall_curve",
    "read_skipped",
    "read_stages",
    "require_replaceable_detections",
    "score_detector",
    "score_results",
    "source_sets",
    "weights_digest",
    "with_unknown",
    "without_images",
]
