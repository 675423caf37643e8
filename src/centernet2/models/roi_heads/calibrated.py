"""Calibrated probabilities of detections.

The score of a detection becomes the probability that it is right: class and box. It rises with the
score, so detections of a class keep their order. The score of the proposal behind it becomes the
probability that there is an object. Their quotient is the class probability, given an object.
"""

from torch import Tensor

from centernet2.ops.calibration import calibrate, factors
from centernet2.ops.tensors import constant
from centernet2.structures import ScoreCalibration


def calibrated_scores(calibration: ScoreCalibration, scores: Tensor, labels: Tensor) -> Tensor:
    """Return probabilities [..., D] that detections are right, by scores and labels."""
    scores = scores.float()
    temperatures = constant(calibration.temperatures, scores)[labels]
    offsets = constant(calibration.offsets, scores)[labels]
    return calibrate(scores, temperatures, offsets)


def calibrated_objectness(calibration: ScoreCalibration, scores: Tensor) -> Tensor:
    """Return the probability that there is an object, of the scores of proposals."""
    return calibrate(scores, calibration.object_temperature, calibration.object_offset)


def calibrated_factors(
    calibration: ScoreCalibration, scores: Tensor, objectness: Tensor
) -> tuple[Tensor, Tensor]:
    """Return objectness and class probability, whose product is the score.

    Args:
        scores: calibrated, [..., D].
        objectness: [..., D] of the proposals behind the detections.
    """
    return factors(scores, calibrated_objectness(calibration, objectness))
