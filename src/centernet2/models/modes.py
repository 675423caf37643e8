"""Training and evaluation mode of models."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from centernet2.structures import ImageDetector


@contextmanager
def evaluation_mode(model: ImageDetector | nn.Module) -> Iterator[None]:
    """Set evaluation mode in the block, then restore the mode of each module.

    The modes may differ: frozen parts of a model in training may be in evaluation mode.
    """
    training = [module for module in model.modules() if module.training]
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
