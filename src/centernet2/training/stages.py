"""The stages of a network: what learns at a rate of its own, and between which maps are kept for the backward pass."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import pairwise

from torch import Tensor, nn
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


def recompute_stages(backbone: nn.Module) -> None:
    """Keeps only the maps between the stages of a backbone while training and computes the others again in the backward
    pass (arXiv 1604.06174), which costs about a third more time there. Weights and gradients are the same.
    """
    for stage in backbone_stages(backbone):
        if any(parameter.requires_grad for parameter in stage.parameters()):
            _recompute(stage, is_random=True)


def recompute_norms(towers: Iterable[nn.Sequential]) -> None:
    """Keeps only what the convolutions of towers put out and computes normalisation and activation again in the
    backward pass, which costs hardly any time. Weights, gradients and batch statistics are the same.
    """
    for tower in towers:
        parts = _after_convolutions(tower)
        for part in parts[1:-1]:  # the first and the last would keep as much
            _recompute(part, is_random=False)
        tower.forward = partial(_in_turn, parts)  # type: ignore[method-assign]


def _recompute(module: nn.Module, *, is_random: bool) -> None:
    """Computes a module again in the backward pass, where it is random (dropped paths) with the same numbers."""
    contexts = partial(_contexts, module)
    module.forward = partial(
        checkpoint, module.forward, use_reentrant=False, context_fn=contexts, preserve_rng_state=is_random
    )


def _after_convolutions(tower: nn.Sequential) -> list[nn.Sequential]:
    """The layers of a tower in parts that end with a convolution, or with the tower."""
    ends = [i + 1 for i, layer in enumerate(tower) if any(weight.dim() == 4 for weight in layer.parameters())]
    return [tower[start:end] for start, end in pairwise([0, *ends, len(tower)])]


def _in_turn(parts: Sequence[nn.Module], x: Tensor) -> Tensor:
    for part in parts:
        x = part(x)
    return x


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
