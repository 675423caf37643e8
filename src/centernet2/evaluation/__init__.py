"""Metrics of detections, and analysis of their errors."""

from centernet2.evaluation.analysis import analyze as analyze
from centernet2.evaluation.bootstrap import Difference as Difference
from centernet2.evaluation.bootstrap import compare_pairs as compare_pairs
from centernet2.evaluation.curves import ThresholdChoice as ThresholdChoice
from centernet2.evaluation.curves import best_point as best_point
from centernet2.evaluation.curves import choose_threshold as choose_threshold
from centernet2.evaluation.curves import class_curves as class_curves
from centernet2.evaluation.curves import overall_curve as overall_curve
from centernet2.evaluation.detection_files import RESULTS_FILE as RESULTS_FILE
from centernet2.evaluation.detection_files import STAGES_FILE as STAGES_FILE
from centernet2.evaluation.detection_files import read_stages as read_stages
from centernet2.evaluation.detection_files import (
    require_replaceable_detections as require_replaceable_detections,
)
from centernet2.evaluation.examples import boxes_of_image as boxes_of_image
from centernet2.evaluation.ground_truth import GroundTruth as GroundTruth
from centernet2.evaluation.ground_truth import source_sets as source_sets
from centernet2.evaluation.ground_truth import without_images as without_images
from centernet2.evaluation.inference import Interrupted as Interrupted
from centernet2.evaluation.matching import match_detections as match_detections
from centernet2.evaluation.score_calibration import CalibrationError as CalibrationError
from centernet2.evaluation.score_calibration import calibrate_labels as calibrate_labels
from centernet2.evaluation.score_calibration import calibration_errors as calibration_errors
from centernet2.evaluation.score_calibration import fit_calibration as fit_calibration
from centernet2.evaluation.score_calibration import observe as observe
from centernet2.evaluation.scoring import IMAGES_SKIPPED as IMAGES_SKIPPED
from centernet2.evaluation.scoring import SKIPPED_FILE as SKIPPED_FILE
from centernet2.evaluation.scoring import EvaluationInterrupted as EvaluationInterrupted
from centernet2.evaluation.scoring import Scored as Scored
from centernet2.evaluation.scoring import SkippedImage as SkippedImage
from centernet2.evaluation.scoring import read_skipped as read_skipped
from centernet2.evaluation.scoring import score_detector as score_detector
from centernet2.evaluation.scoring import score_results as score_results
from centernet2.evaluation.stage_metrics import PROPOSAL_COUNTS as PROPOSAL_COUNTS
from centernet2.evaluation.stream import ResultStream as ResultStream
from centernet2.evaluation.unknown_fit import with_unknown as with_unknown
