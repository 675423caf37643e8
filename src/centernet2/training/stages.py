"""The stages of a backbone: what learns at a rate of its own, and between which maps are kept for the backward pass."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


def backbone_stages(backbone: nn.Module) -> list[nn.Module]:
    """The children that have parameters, from the stem on; a wrapper around them is looked through."""
    stages = [backbone]
    while len(stages) == 1:
        children = [child for child in stages[0].children() if next(child.parameters(), None) is not None]
        if not children:
            return stages
        stages = children
    return stages


def checkpoint_gradients(backbone: nn.Module) -> None:
    """Keeps only the maps between stages while training and computes the rest again in the backward pass.

    That costs about a third more time (arXiv 1604.06174). Weights, gradients and batch statistics are the same.
    """
    for stage in backbone_stages(backbone):
        if any(parameter.requires_grad for parameter in stage.parameters()):
            contexts = partial(_contexts, stage)
            stage.forward = partial(checkpoint, stage.forward, use_reentrant=False, context_fn=contexts)


def _contexts(stage: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Around the first and around the second computation."""
    return nullcontext(), _keeping_statistics(stage)


@contextmanager
def _keeping_statistics(stage: nn.Module) -> Iterator[None]:
    """Batch normalisation does not count a batch that it sees for the second time."""
    norms = [module for module in stage.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
