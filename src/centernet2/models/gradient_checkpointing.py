"""Gradient checkpointing: activations that are recomputed in the backward pass."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from centernet2.models.backbones.backbone import backbone_stages
from centernet2.models.backbones.residual_network import Bottleneck

Policy = Callable[..., CheckpointPolicy]  # decides whether the output of an operator is kept
Context = AbstractContextManager[object]


def recompute_stages(backbone: nn.Module) -> None:
    """Keep only the activations between the stages of a backbone, in place.

    The backward pass recomputes the others (arXiv 1604.06174), which takes about a third more time
    there.
    """
    for stage in backbone_stages(backbone):
        if any(parameter.requires_grad for parameter in stage.parameters()):
            _recompute(stage, is_random=True)


def recompute_expansions(backbone: nn.Module) -> None:
    """Keep only the outputs of the narrow convolutions in bottleneck blocks, in place.

    The outputs of the blocks, four times as wide, are recomputed from one 1 x 1 convolution each.
    That saves a third of a ResNet's activations and makes a training step about 3 % slower.
    """
    for stage in backbone_stages(backbone):
        is_trained = any(parameter.requires_grad for parameter in stage.parameters())
        if (
            is_trained
            and isinstance(stage, nn.Sequential)
            and all(map(_is_plain_bottleneck, stage))
        ):
            _recompute(stage, is_random=True, policy=_keep_narrow_outputs)


def recompute_norms(towers: Iterable[nn.Sequential]) -> None:
    """Keep only the outputs of the convolutions in towers, in place.

    Normalization and activation are recomputed, which takes hardly any time. Batch statistics count
    each batch once.
    """
    for tower in towers:
        parts = _after_convolutions(tower)
        for part in parts[1:-1]:  # the first and the last would save nothing
            _recompute(part, is_random=False)
        tower.forward = partial(_run_in_sequence, parts)  # type: ignore[method-assign]


def stop_recomputation(network: nn.Module) -> None:
    """Undo the functions above for all modules of a network, in place."""
    for module in network.modules():
        if isinstance(vars(module).get("forward"), partial):
            del module.forward


def _is_plain_bottleneck(block: nn.Module) -> bool:
    """Whether a block has only plain convolutions and ReLU, and no attention."""
    from timm.models import resnet  # for training alone: it takes longer to import than torch

    if not isinstance(block, Bottleneck | resnet.Bottleneck) or getattr(block, "se", None):
        return False
    return isinstance(block.conv2, nn.Conv2d) and all(
        isinstance(act, nn.ReLU) for act in (block.act1, block.act2)
    )


def _keep_narrow_outputs(
    _: object, operator: object, *arguments: Any, **options: Any
) -> CheckpointPolicy:
    """Keep outputs of convolutions, except 1 x 1 convolutions that add channels.

    Kept outputs may change in place: only a ReLU does that, which may be applied twice.
    """
    if operator not in (torch.ops.aten.convolution.default, torch.ops.centernet2.conv2d.default):
        return CheckpointPolicy.PREFER_RECOMPUTE
    out_channels, in_channels, *size = arguments[1].shape  # of the weight
    widens = size == [1, 1] and out_channels > in_channels
    return CheckpointPolicy.PREFER_RECOMPUTE if widens else CheckpointPolicy.MUST_SAVE


def _recompute(module: nn.Module, *, is_random: bool, policy: Policy | None = None) -> None:
    """Recompute a module in the backward pass.

    Args:
        is_random: restore the random state, for dropped paths.
        policy: operators whose outputs are kept; None: none.
    """
    module.forward = partial(
        checkpoint,
        module.forward,
        use_reentrant=False,
        context_fn=partial(_contexts, module, policy),
        preserve_rng_state=is_random,
    )


def _after_convolutions(tower: nn.Sequential) -> list[nn.Sequential]:
    """Split a tower behind each convolution."""
    ends = [
        i + 1
        for i, layer in enumerate(tower)
        if any(weight.dim() == 4 for weight in layer.parameters())
    ]
    return [tower[start:end] for start, end in pairwise([0, *ends, len(tower)])]


def _run_in_sequence(parts: Sequence[nn.Module], x: Tensor) -> Tensor:
    for part in parts:
        x = part(x)
    return x


def _contexts(stage: nn.Module, policy: Policy | None) -> tuple[Context, Context]:
    """Contexts of the first computation and of the recomputation."""
    first: Context = nullcontext()
    second: Context = nullcontext()
    if policy is not None:
        first, second = create_selective_checkpoint_contexts(  # type: ignore[no-untyped-call]
            policy, allow_cache_entry_mutation=True
        )
    return first, _with_fixed_statistics(stage, second)


@contextmanager
def _with_fixed_statistics(stage: nn.Module, context: Context) -> Iterator[None]:
    """Enter the context without counting a batch twice in batch normalization."""
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
