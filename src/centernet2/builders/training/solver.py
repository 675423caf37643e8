"""Build optimizer, schedule, gradient clipping and training state from a config."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from centernet2 import distributed
from centernet2.config import Config, ConfigError, add_keys, one_of
from centernet2.devices import Precision, grad_scaler
from centernet2.kernels import device_name, is_bf16_fast
from centernet2.models.backbones.backbone import backbone_stages
from centernet2.models.detector import Detector
from centernet2.training.ema import AveragedWeights
from centernet2.training.optim import adamw, clip_gradients, parameter_groups, sgd, stage_lr_factors
from centernet2.training.run_state import RunState
from centernet2.training.schedule import Multiplier, Schedule, learning_rate_multiplier
from centernet2.training.time_budget import TimeBudget

logger = logging.getLogger(__name__)

CLIPS: tuple[Literal["value", "norm", "full_model"], ...] = ("value", "norm", "full_model")
OPTIMIZERS: tuple[Literal["SGD", "ADAMW"], ...] = ("SGD", "ADAMW")
AMP_DTYPES: tuple[Literal["bf16", "fp16"], ...] = ("bf16", "fp16")
WARMUP_METHODS = ("linear", "constant")


def build_multiplier(config: Config) -> Multiplier:
    """Build the schedule: the factor of the learning rate by iteration."""
    one_of(config.schedule.warmup_method, WARMUP_METHODS, "SOLVER.WARMUP_METHOD")
    with add_keys("schedule", "optimizer"):
        return learning_rate_multiplier(config.schedule, base_lr=config.optimizer.base_lr)


def build_optimizer(config: Config, model: Detector) -> torch.optim.Optimizer:
    """Build SGD or AdamW, with parameter groups by learning rate and weight decay."""
    o = config.optimizer
    groups = parameter_groups(
        model,
        base_lr=o.base_lr,
        weight_decay=o.weight_decay,
        weight_decay_norm=o.weight_decay if o.weight_decay_norm is None else o.weight_decay_norm,
        bias_lr_factor=o.bias_lr_factor,
        weight_decay_bias=o.weight_decay_bias,
        lr_factors=stage_lr_factors(
            backbone_stages(model.backbone),
            multiplier=o.backbone_multiplier,
            layer_decay=o.layer_decay,
        ),
    )
    if one_of(o.optimizer, OPTIMIZERS, "SOLVER.OPTIMIZER") == "ADAMW":
        return adamw(groups, lr=o.base_lr, betas=(o.betas[0], o.betas[1]))
    if o.nesterov and o.momentum == 0:
        raise ConfigError("SOLVER.NESTEROV needs SOLVER.MOMENTUM above 0; set it, or leave it out")
    return sgd(groups, lr=o.base_lr, momentum=o.momentum, nesterov=o.nesterov)


def build_clip(config: Config) -> Callable[[list[nn.Parameter]], None] | None:
    """Build the function that clips gradients; None: no clipping."""
    options = config.clip
    if not options.enabled:
        return None
    kind = one_of(options.clip_type, CLIPS, "SOLVER.CLIP_GRADIENTS.CLIP_TYPE")
    return partial(
        clip_gradients, clip_type=kind, clip_value=options.clip_value, norm_type=options.norm_type
    )


def choose_precision(device: torch.device, *, amp: bool, dtype: str) -> Precision:
    """Return the number format of training; on the CPU fp16 is replaced by bf16."""
    precision = one_of(dtype, AMP_DTYPES, "SOLVER.AMP.DTYPE")
    if not amp:
        return "fp32"
    if device.type == "cpu" and precision == "fp16":
        logger.warning("mixed precision on the CPU is bf16, not SOLVER.AMP.DTYPE fp16")
        precision = "bf16"
    if precision == "bf16" and not is_bf16_fast(device):
        better = "SOLVER.AMP.DTYPE fp16" if device.type == "cuda" else "SOLVER.AMP.ENABLED False"
        logger.warning("%s emulates bf16, which is slow: set %s", device_name(device), better)
    return precision


def build_average(config: Config, model: nn.Module) -> AveragedWeights | None:
    """Build the moving average of the weights; None: it is off."""
    ema = config.ema
    if not ema.enabled:
        return None
    with add_keys("ema"):
        return AveragedWeights(model, decay=ema.decay, warmup_iters=ema.warmup_iters)


def build_budget(config: Config, schedule: Schedule, *, started: float) -> TimeBudget | None:
    """Build the limit on the time of a run; None: there is none."""
    if config.run.max_minutes == 0:
        return None
    return TimeBudget(
        60 * config.run.max_minutes,
        schedule,
        length=config.schedule.max_iter,
        started=started,
        period=config.run.log_period,
    )


def build_run_state(
    config: Config,
    model: Detector,
    device: torch.device,
    precision: Precision,
    *,
    started: float,
    output: Path,
) -> RunState:
    """Build the state of a training run; the model is on its device.

    Args:
        started: value of time.monotonic() at the start of the command.
    """
    optimizer = build_optimizer(config, model)
    schedule = Schedule(optimizer, build_multiplier(config))
    return RunState(
        model,
        model.info,
        optimizer=optimizer,
        schedule=schedule,
        scaler=grad_scaler(device, precision),
        generator=torch.Generator(device).manual_seed(config.run.seed + distributed.rank()),
        average=build_average(config, model),
        patience=config.run.patience,
        budget=build_budget(config, schedule, started=started),
        output=output,
    )
