"""Calibration of probabilities: temperature (arXiv 1706.04599) and Platt scaling."""

from torch import Tensor

LEAST = 1e-6  # distance of a probability from 0 and 1, whose logits are infinite


def calibrate(p: Tensor, temperature: Tensor | float, offset: Tensor | float) -> Tensor:
    """Return sigmoid(logit(p) / temperature + offset) in float32 or more.

    The result rises with p.
    """
    if p.element_size() < 4:
        p = p.float()
    return (p.logit(eps=LEAST) / temperature + offset).sigmoid()


def factors(scores: Tensor, objectness: Tensor) -> tuple[Tensor, Tensor]:
    """Split calibrated scores into objectness and class probability.

    A detection is right only on an object, so its objectness is at least its score.
    """
    objectness = objectness.maximum(scores)
    return objectness, scores / objectness
