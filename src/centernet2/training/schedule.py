"""Learning rate schedules, as in detectron2."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

Multiplier = Callable[[float], float]  # iteration -> factor of the base learning rate


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
    max_iter, warmup_iters = options.max_iter, options.warmup_iters
    if options.rescale_interval and warmup_iters >= max_iter:
        raise ValueError(
            f"rescale_interval needs warmup_iters below max_iter, but they are {warmup_iters} and "
            f"{max_iter}; shorten the warm-up, or do not rescale"
        )
    return partial(
        warm_up,
        schedule=_after_warm_up(options, base_lr=base_lr),
        factor=options.warmup_factor,
        iters=min(warmup_iters, max_iter),
        method=options.warmup_method,
        rescale_interval=options.rescale_interval,
        max_iter=max_iter,
    )


def _after_warm_up(options: ScheduleOptions, *, base_lr: float) -> Multiplier:
    """Build the schedule without warm-up."""
    max_iter, gamma = options.max_iter, options.gamma
    schedules: dict[str, Callable[[], Multiplier]] = {
        "WarmupMultiStepLR": lambda: partial(multi_step, steps=options.steps, gamma=gamma),
        "WarmupCosineLR": lambda: partial(
            cosine, max_iter=max_iter, end=_end_factor(options.base_lr_end, base_lr)
        ),
        "WarmupStepWithFixedGammaLR": lambda: partial(
            step_with_fixed_gamma, max_iter=max_iter, gamma=gamma, num_decays=options.num_decays
        ),
    }
    if options.name not in schedules:
        raise ValueError(f"name is '{options.name}'; choose one of {', '.join(schedules)}")
    return schedules[options.name]()


def _end_factor(base_lr_end: float, base_lr: float) -> float:
    """Return the last learning rate as a factor of the base rate."""
    if base_lr == 0:
        raise ValueError("base_lr is 0, and a cosine only scales it; choose a rate above 0")
    return base_lr_end / base_lr


class Schedule(LambdaLR):
    """The scheduler that multiplies the learning rate of every group.

    The rates are a function of the position alone: of the iteration, and of the iterations that a
    time budget has left out.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, multiplier: Multiplier) -> None:
        self.left_out = 0.0
        super().__init__(optimizer, lambda iteration: multiplier(iteration + self.left_out))

    @property
    def position(self) -> float:
        """The iteration of the schedule, which is not below the number of steps done."""
        return self.last_epoch + self.left_out

    def advance(self, iterations: float) -> None:
        """Leave out iterations of the schedule."""
        self.left_out += iterations
        self._set_rates()

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.last_epoch, "left_out": self.left_out}

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> None:
        """Continue at an iteration, with the rates and the multiplier of this schedule."""
        self.last_epoch = int(state_dict["last_epoch"])
        self.left_out = state_dict.get("left_out", 0.0)
        self._set_rates()

    def _set_rates(self) -> None:
        rates = zip(self.lr_lambdas, self.base_lrs, strict=True)
        self._last_lr = [base * multiplier(self.last_epoch) for multiplier, base in rates]
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr
