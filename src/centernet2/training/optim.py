"""Optimizers and gradient clipping, as in detectron2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from centernet2.training.sharding import is_sharded

NORM_LAYERS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)

# Devices with fused optimizers, which skip a step without synchronization.
FUSED_DEVICES = ("cpu", "cuda", "xpu", "mps")


@dataclass(frozen=True)
class ClipOptions:
    """Gradient clipping."""

    enabled: bool = False
    clip_type: str = "value"
    clip_value: float = 1.0
    norm_type: float = 2.0


@dataclass(frozen=True)
class OptimizerOptions:
    """Optimizer."""

    optimizer: str = "SGD"
    betas: tuple[float, ...] = (0.9, 0.999)
    backbone_multiplier: float = 1.0
    layer_decay: float = 1.0
    base_lr: float = 0.001
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0001
    weight_decay_norm: float | None = 0.0
    weight_decay_bias: float | None = None
    bias_lr_factor: float = 1.0


def parameter_groups(
    model: nn.Module,
    *,
    base_lr: float,
    weight_decay: float,
    weight_decay_norm: float,
    bias_lr_factor: float,
    weight_decay_bias: float | None,
    lr_factors: Mapping[nn.Parameter, float],
) -> list[dict[str, Any]]:
    """Group the trainable parameters by learning rate and weight decay.

    A group also has the names of its parameters: `carry_state` finds their state by them.

    Args:
        weight_decay_norm: of normalization layers.
        bias_lr_factor: factor of the learning rate of biases.
        weight_decay_bias: of biases, also those of normalization layers; None: no exception.
        lr_factors: factors of the learning rate, by parameter; default 1.
    """
    groups: dict[tuple[float, float], dict[str, nn.Parameter]] = {}
    seen: set[nn.Parameter] = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            lr = base_lr * lr_factors.get(parameter, 1.0)
            decay = weight_decay_norm if isinstance(module, NORM_LAYERS) else weight_decay
            if name == "bias":
                lr *= bias_lr_factor
                decay = decay if weight_decay_bias is None else weight_decay_bias
            groups.setdefault((lr, decay), {})[f"{prefix}.{name}"] = parameter
    return [
        {"params": [*group.values()], "names": [*group], "lr": lr, "weight_decay": decay}
        for (lr, decay), group in groups.items()
    ]


def stage_lr_factors(
    stages: Sequence[nn.Module], *, multiplier: float, layer_decay: float
) -> dict[nn.Parameter, float]:
    """Return learning-rate factors, falling from the last backbone stage to the stem.

    The last stage has the factor `multiplier * layer_decay`, the stage before it
    `multiplier * layer_decay ** 2` and so on (arXiv 2106.08254, appendix).
    """
    return {
        parameter: multiplier * layer_decay**depth
        for depth, stage in enumerate(reversed(stages), start=1)
        for parameter in stage.parameters()
    }


def sgd(
    groups: list[dict[str, Any]], *, lr: float, momentum: float, nesterov: bool
) -> torch.optim.SGD:
    """Build SGD; the parameters are already on their device."""
    optimizer = torch.optim.SGD(
        groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=_can_fuse(groups)
    )
    if momentum > 0:
        # The fused kernel allocates these buffers uninitialized in the first step, and they stay so
        # if that step is skipped.
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def adamw(
    groups: list[dict[str, Any]], *, lr: float, betas: tuple[float, float]
) -> torch.optim.AdamW:
    """Build AdamW: Adam with decoupled weight decay (arXiv 1711.05101)."""
    return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=_can_fuse(groups))


def carry_state(saved: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Join the saved state of the parameters with the optimizer's own options.

    Learning rates, weight decay and the like stay those that the optimizer was built with, and
    another grouping of the parameters does no harm: they are found by their names.

    Raises:
        ValueError: the saved groups have no names, and are not those of this optimizer.
    """
    own = optimizer.state_dict()
    names, saved_names = _names(own), _names(saved)
    if not saved_names:
        sizes, saved_sizes = ([len(g["params"]) for g in s["param_groups"]] for s in (own, saved))
        if sizes != saved_sizes:
            raise ValueError(
                "the optimizer's state in the checkpoint is of an earlier version, which can only "
                "be resumed with the same learning rates and weight decays"
            )
        saved_names = names
    states = {saved_names[index]: state for index, state in saved["state"].items()}
    has_no_state = {i for g in own["param_groups"] if g.get("momentum") == 0 for i in g["params"]}
    carried = {
        index: states.get(name, own["state"].get(index))
        for index, name in names.items()
        if index not in has_no_state
    }
    return {**own, "state": {index: state for index, state in carried.items() if state}}


def _names(state: Mapping[str, Any]) -> dict[int, str]:
    """Return the parameter names in an optimizer's state dict by index, if any."""
    return {
        index: name
        for group in state["param_groups"]
        for index, name in zip(group["params"], group.get("names", ()), strict=False)
    }


def _can_fuse(groups: list[dict[str, Any]]) -> bool:
    """Whether the optimizer has a fused kernel; SGD has none for sharded parameters."""
    parameters = [parameter for group in groups for parameter in group["params"]]
    return all(p.device.type in FUSED_DEVICES and not is_sharded(p) for p in parameters)


def clip_gradients(
    parameters: Sequence[nn.Parameter],
    *,
    clip_type: Literal["value", "norm", "full_model"],
    clip_value: float,
    norm_type: float,
) -> None:
    """Clip each element, the norm of each gradient, or the norm of all gradients."""
    if clip_type == "value":
        nn.utils.clip_grad_value_(parameters, clip_value)
    elif clip_type == "full_model":
        nn.utils.clip_grad_norm_(parameters, clip_value, norm_type)
    else:
        for parameter in parameters:
            nn.utils.clip_grad_norm_(parameter, clip_value, norm_type)
