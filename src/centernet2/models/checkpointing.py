"""The stages of a network: what learns at a rate of its own, and between which maps are kept for the backward pass."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from timm.models.resnet import Bottleneck
from torch import Tensor, nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

Policy = Callable[..., CheckpointPolicy]  # what becomes of an operator's result
Context = AbstractContextManager[object]


def backbone_stages(backbone: nn.Module) -> list[nn.Module]:
    """The children that have parameters, from the stem on; a wrapper around them is looked through."""
    stages = [backbone]
    while len(stages) == 1:
        children = [
            child for child in stages[0].children() if next(child.parameters(), None) is not None
        ]
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


def recompute_expansions(backbone: nn.Module) -> None:
    """Keeps of bottlenecks only what their narrow convolutions put out: the sums behind them, which are four times as
    wide, come back in the backward pass from one convolution of 1 x 1 each. Weights and gradients are the same; it
    leaves out a third of what a ResNet keeps, for some 3 % more time of a training step.
    """
    for stage in backbone_stages(backbone):
        is_trained = any(parameter.requires_grad for parameter in stage.parameters())
        if (
            is_trained
            and isinstance(stage, nn.Sequential)
            and all(map(_is_plain_bottleneck, stage))
        ):
            _recompute(stage, is_random=True, policy=_keep_narrow_maps)


def recompute_norms(towers: Iterable[nn.Sequential]) -> None:
    """Keeps only what the convolutions of towers put out and computes normalisation and activation again in the
    backward pass, which costs hardly any time. Weights, gradients and batch statistics are the same.
    """
    for tower in towers:
        parts = _after_convolutions(tower)
        for part in parts[1:-1]:  # the first and the last would keep as much
            _recompute(part, is_random=False)
        tower.forward = partial(_in_turn, parts)  # type: ignore[method-assign]


def _is_plain_bottleneck(block: nn.Module) -> bool:
    """Whether a block has neither other costly layers, deformable or attentive, nor other activations than ReLU."""
    if not isinstance(block, Bottleneck) or block.se is not None:
        return False
    return isinstance(block.conv2, nn.Conv2d) and all(
        isinstance(act, nn.ReLU) for act in (block.act1, block.act2)
    )


def _keep_narrow_maps(
    _: object, operator: object, *arguments: Any, **options: Any
) -> CheckpointPolicy:
    """Keeps results of convolutions but for those of 1 x 1 that widen. What follows one in place is a ReLU, which
    changes nothing when it is applied again.
    """
    if operator not in (torch.ops.aten.convolution.default, torch.ops.centernet2.conv2d.default):
        return CheckpointPolicy.PREFER_RECOMPUTE
    results, channels, *size = arguments[1].shape  # of the weight
    widens = size == [1, 1] and results > channels
    return CheckpointPolicy.PREFER_RECOMPUTE if widens else CheckpointPolicy.MUST_SAVE


def _recompute(module: nn.Module, *, is_random: bool, policy: Policy | None = None) -> None:
    """Computes a module again in the backward pass, where it is random (dropped paths) with the same numbers.

    A policy says which operators' results are kept all the same; without one, none are.
    """
    module.forward = partial(
        checkpoint,
        module.forward,
        use_reentrant=False,
        context_fn=partial(_contexts, module, policy),
        preserve_rng_state=is_random,
    )


def _after_convolutions(tower: nn.Sequential) -> list[nn.Sequential]:
    """The layers of a tower in parts that end with a convolution, or with the tower."""
    ends = [
        i + 1
        for i, layer in enumerate(tower)
        if any(weight.dim() == 4 for weight in layer.parameters())
    ]
    return [tower[start:end] for start, end in pairwise([0, *ends, len(tower)])]


def _in_turn(parts: Sequence[nn.Module], x: Tensor) -> Tensor:
    for part in parts:
        x = part(x)
    return x


def _contexts(stage: nn.Module, policy: Policy | None) -> tuple[Context, Context]:
    """Around the first and around the second computation."""
    first: Context = nullcontext()
    second: Context = nullcontext()
    if policy is not None:
        first, second = create_selective_checkpoint_contexts(  # type: ignore[no-untyped-call]
            policy, allow_cache_entry_mutation=True
        )
    return first, _keeping_statistics(stage, second)


@contextmanager
def _keeping_statistics(stage: nn.Module, context: Context) -> Iterator[None]:
    """The context, in which batch normalisation does not count a batch that it sees for the second time."""
    norms = [
        module for module in stage.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = (
            None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()
        )
    try:
        with context:
            yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
