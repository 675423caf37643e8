"""Optimizers, learning rate schedules and gradient clipping, as in detectron2."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim.lr_scheduler import LambdaLR

Multiplier = Callable[[float], float]  # iteration -> factor of the base learning rate

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
class ScheduleOptions:
    """Learning rate schedule."""

    name: str = "WarmupMultiStepLR"
    max_iter: int = 40000
    steps: tuple[int, ...] = (30000,)
    gamma: float = 0.1
    num_decays: int = 3
    base_lr_end: float = 0.0
    warmup_factor: float = 0.001
    warmup_iters: int = 1000
    warmup_method: str = "linear"
    rescale_interval: bool = False


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

    Args:
        weight_decay_norm: of normalization layers.
        bias_lr_factor: factor of the learning rate of biases.
        weight_decay_bias: of biases, also those of normalization layers; None: no exception.
        lr_factors: factors of the learning rate, by parameter; default 1.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    seen: set[nn.Parameter] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            lr = base_lr * lr_factors.get(parameter, 1.0)
            decay = weight_decay_norm if isinstance(module, NORM_LAYERS) else weight_decay
            if name == "bias":
                lr *= bias_lr_factor
                decay = decay if weight_decay_bias is None else weight_decay_bias
            groups.setdefault((lr, decay), []).append(parameter)
    return [
        {"params": params, "lr": lr, "weight_decay": decay}
        for (lr, decay), params in groups.items()
    ]


def stage_lr_factors(
    stages: Sequence[nn.Module], *, multiplier: float, layer_decay: float
) -> dict[nn.Parameter, float]:
    """Return learning-rate factors, decreasing from the last backbone stage to the stem.

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


def _can_fuse(groups: list[dict[str, Any]]) -> bool:
    """Whether the optimizer has a fused kernel; SGD has none for sharded parameters."""
    parameters = [parameter for group in groups for parameter in group["params"]]
    return all(p.device.type in FUSED_DEVICES and not isinstance(p, DTensor) for p in parameters)


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


def multi_step(iteration: float, *, steps: Sequence[int], gamma: float) -> float:
    """Multiply by `gamma` at each of the steps."""
    return gamma ** bisect_right(steps, iteration)


def cosine(iteration: float, *, max_iter: int, end: float) -> float:
    """Half a cosine wave from 1 to `end` (arXiv 1608.03983, equation 5)."""
    return end + 0.5 * (1 - end) * (1 + math.cos(math.pi * iteration / max_iter))


def step_with_fixed_gamma(
    iteration: float, *, max_iter: int, gamma: float, num_decays: int
) -> float:
    """Multiply by `gamma` at `num_decays` evenly spaced iterations."""
    return gamma ** min(int(iteration * (num_decays + 1) / max_iter), num_decays)


def warm_up(
    iteration: float,
    *,
    schedule: Multiplier,
    factor: float,
    iters: int,
    method: str,
    rescale_interval: bool,
    max_iter: int,
) -> float:
    """Warm up from `factor` to the schedule (arXiv 1706.02677, section 2.2).

    After `iters` the schedule applies as if there had been no warm-up; with `rescale_interval` the
    whole schedule is compressed into the remaining iterations.
    """
    if iteration >= iters:
        return schedule(
            (iteration - iters) * max_iter / (max_iter - iters) if rescale_interval else iteration
        )
    start = factor * schedule(0)
    if method == "constant":
        return start
    end = schedule(0 if rescale_interval else iters)
    return start + (end - start) * iteration / iters


def learning_rate_multiplier(options: ScheduleOptions, *, base_lr: float) -> Multiplier:
    """Build the schedule with warm-up, as a function of the iteration."""
    max_iter = options.max_iter
    schedules: dict[str, Multiplier] = {
        "WarmupMultiStepLR": partial(multi_step, steps=options.steps, gamma=options.gamma),
        "WarmupCosineLR": partial(cosine, max_iter=max_iter, end=options.base_lr_end / base_lr),
        "WarmupStepWithFixedGammaLR": partial(
            step_with_fixed_gamma,
            max_iter=max_iter,
            gamma=options.gamma,
            num_decays=options.num_decays,
        ),
    }
    if options.name not in schedules:
        raise ValueError(f"name is '{options.name}'; choose one of {', '.join(schedules)}")
    return partial(
        warm_up,
        schedule=schedules[options.name],
        factor=options.warmup_factor,
        iters=min(options.warmup_iters, max_iter),
        method=options.warmup_method,
        rescale_interval=options.rescale_interval,
        max_iter=max_iter,
    )


def scheduler(optimizer: torch.optim.Optimizer, multiplier: Multiplier) -> LambdaLR:
    """Build the scheduler that multiplies the learning rate of every group."""
    return LambdaLR(optimizer, multiplier)
