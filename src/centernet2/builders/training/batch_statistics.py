"""Batch statistics in training: a single value per channel has none."""

from collections.abc import Iterator
from contextlib import contextmanager

from centernet2.config import ConfigError

LEAST_BATCH = 2  # one image has no batch statistics where its map is a single cell
REFUSAL = "Expected more than 1 value per channel when training, got input size "  # of PyTorch


@contextmanager
def explain_single_values() -> Iterator[None]:
    """Raise ConfigError with remedies where PyTorch refuses one value per channel."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith(REFUSAL):
            raise
        shape = str(error).removeprefix(REFUSAL).removeprefix("torch.Size(").rstrip(")")
        raise ConfigError(
            f"batch normalization cannot train on a feature map of shape {shape}: one image, one "
            "cell; train with 2 or more images per process (SOLVER.IMS_PER_BATCH), with larger "
            "ones (INPUT.MIN_SIZE_TRAIN), or with GN in place of BN (MODEL.BIFPN.NORM and others)"
        ) from error
