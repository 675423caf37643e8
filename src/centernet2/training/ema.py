"""Averaged weights, which usually give a higher AP than those of the last step."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from centernet2.training.sharding import local, shard_like
from centernet2.training.step import FinishedStep


@dataclass(frozen=True)
class EMAOptions:
    """Averaged weights."""

    enabled: bool = False
    decay: float = 0.9998
    warmup_iters: int = 2000


class AveragedWeights:
    """Exponential moving average of weights and statistics (arXiv 1703.01780).

    Skipped steps do not change it.

    Args:
        model: its weights must stay in the same memory.
        decay: fraction of the average that each step keeps, in 0..1.
        warmup_iters: the decay is multiplied by 1 - exp(-step / warmup_iters), so that the initial
            weights soon have no influence.
    """

    def __init__(self, model: nn.Module, *, decay: float, warmup_iters: int) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay}; choose a number from 0 to below 1, such as 0.9998")
        self.decay = decay
        self.warmup_iters = warmup_iters
        self._current = model.state_dict()  # these tensors change as the model learns
        self._average = {name: value.detach().clone() for name, value in self._current.items()}

    @torch.no_grad()
    def __call__(self, step: FinishedStep) -> None:
        ramp = 1 - math.exp(-step.iteration / self.warmup_iters) if self.warmup_iters > 0 else 1.0
        averaged = [name for name, value in self._current.items() if value.is_floating_point()]
        # 0 after a skipped step; computed on the device, so that the host does not wait
        weight = step.finite * (1 - self.decay * ramp)
        torch._foreach_lerp_(
            [local(self._average[name]) for name in averaged],
            [local(self._current[name]) for name in averaged],
            [weight.to(self._current[name].dtype) for name in averaged],
        )
        for name in self._current.keys() - set(averaged):  # counters
            self._average[name].copy_(self._current[name])

    def state_dict(self) -> dict[str, Tensor]:
        return self._average

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> None:
        for name, value in self._average.items():
            value.copy_(shard_like(state_dict[name], value))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Use the averaged weights in the model inside the context."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self._current.items():
            kept = value.clone()
            value.copy_(self._average[name])
            self._average[name].copy_(kept)
