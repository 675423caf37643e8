"""Gradient checkpointing: activations that are computed again in the backward pass."""

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

Policy = Callable[..., CheckpointPolicy]  # whether an operator's result is kept
Context = AbstractContextManager[object]


def backbone_stages(backbone: nn.Module) -> list[nn.Module]:
    """The stages of a backbone from the stem on: its children with parameters, wrappers apart."""
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
    """Keep only the activations between the stages of a backbone (arXiv 1604.06174), in place.

    The backward pass computes the others again, which costs about a third more time there.
    """
    for stage in backbone_stages(backbone):
        if any(parameter.requires_grad for parameter in stage.parameters()):
            _recompute(stage, is_random=True)


def recompute_expansions(backbone: nn.Module) -> None:
    """Keep of bottlenecks only the outputs of their narrow convolutions, in place.

    The sums behind them, four times as wide, are computed again from one 1 x 1 convolution each.
    That saves a third of a ResNet's activations, for about 3 % more time of a training step.
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
    """Keep only the outputs of the convolutions of towers, in place.

    Normalization and activation are computed again, which costs hardly any time. Batch statistics
    count each batch once.
    """
    for tower in towers:
        parts = _after_convolutions(tower)
        for part in parts[1:-1]:  # the first and the last would keep as much
            _recompute(part, is_random=False)
        tower.forward = partial(_in_turn, parts)  # type: ignore[method-assign]


def stop_recomputation(network: nn.Module) -> None:
    """Undo what the functions above did to the modules of a network, in place."""
    for module in network.modules():
        if isinstance(vars(module).get("forward"), partial):
            del module.forward


def _is_plain_bottleneck(block: nn.Module) -> bool:
    """Whether a block has plain convolutions and ReLU alone, neither deformable nor attention."""
    if not isinstance(block, Bottleneck) or block.se is not None:
        return False
    return isinstance(block.conv2, nn.Conv2d) and all(
        isinstance(act, nn.ReLU) for act in (block.act1, block.act2)
    )


def _keep_narrow_maps(
    _: object, operator: object, *arguments: Any, **options: Any
) -> CheckpointPolicy:
    """Keep results of convolutions, except 1 x 1 ones that widen.

    What follows a kept one in place is a ReLU, which may be applied twice.
    """
    if operator not in (torch.ops.aten.convolution.default, torch.ops.centernet2.conv2d.default):
        return CheckpointPolicy.PREFER_RECOMPUTE
    results, channels, *size = arguments[1].shape  # of the weight
    widens = size == [1, 1] and results > channels
    return CheckpointPolicy.PREFER_RECOMPUTE if widens else CheckpointPolicy.MUST_SAVE


def _recompute(module: nn.Module, *, is_random: bool, policy: Policy | None = None) -> None:
    """Compute a module again in the backward pass.

    Args:
        is_random: restore the random numbers (of dropped paths).
        policy: which operators' results are kept; None: none.
    """
    module.forward = partial(
        checkpoint,
        module.forward,
        use_reentrant=False,
        context_fn=partial(_contexts, module, policy),
        preserve_rng_state=is_random,
    )


def _after_convolutions(tower: nn.Sequential) -> list[nn.Sequential]:
    """The layers of a tower, cut behind each convolution."""
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
    """The contexts of the first and of the second computation."""
    first: Context = nullcontext()
    second: Context = nullcontext()
    if policy is not None:
        first, second = create_selective_checkpoint_contexts(  # type: ignore[no-untyped-call]
            policy, allow_cache_entry_mutation=True
        )
    return first, _with_fixed_statistics(stage, second)


@contextmanager
def _with_fixed_statistics(stage: nn.Module, context: Context) -> Iterator[None]:
    """The context, in which batch normalization does not count a batch a second time."""
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
