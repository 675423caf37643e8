"""Detect, undo, count and record steps whose loss or gradient is not finite."""

import json
import logging
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from centernet2 import distributed
from centernet2.training.sharding import is_sharded, local
from centernet2.training.step import FinishedStep

logger = logging.getLogger(__name__)


class NonFiniteError(ValueError):
    """Too many consecutive steps were not finite."""


def are_gradients_finite(parameters: list[nn.Parameter]) -> Tensor:
    """Whether all gradients are finite: a device flag [], equal on all processes.

    The maximum norm cannot overflow, a sum of squares can. Each process checks its own shard of
    sharded gradients.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    parts = [part for part in map(local, gradients) if part.numel() > 0]
    finite = nn.utils.get_total_norm(parts, norm_type=math.inf).isfinite()
    if any(map(is_sharded, gradients)):
        finite = distributed.reduce_mean(finite.float()) == 1
    return finite


class BatchStatistics:
    """Running statistics of batch normalization, restored after a skipped step.

    The forward pass updates them, and a NaN would stay in the running means.

    Args:
        model: its statistics must stay in the same memory.
    """

    def __init__(self, model: nn.Module) -> None:
        norms = [
            module
            for module in model.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
        ]
        self._current = [buffer for norm in norms for buffer in norm.buffers(recurse=False)]
        self._kept = [buffer.clone() for buffer in self._current]

    @torch.no_grad()
    def keep(self) -> None:
        """Copy the statistics before a step."""
        if self._current:
            torch._foreach_copy_(self._kept, self._current)

    @torch.no_grad()
    def restore_unless(self, finite: Tensor) -> None:
        """Restore the copies if the flag [] is False, without synchronization."""
        for current, kept in zip(self._current, self._kept, strict=True):
            current.copy_(torch.where(finite, current, kept))


class NonFiniteGuard:
    """Count and record skipped steps; raise after `limit` consecutive ones.

    It also raises at the end of training if the last steps were skipped, and these are most of all
    iterations: a run shorter than `limit` diverges, too. A loss scaler skips the first steps of a
    sound run until its scale fits, so this does not apply `with_scaler`.

    The flags are read once per `period` steps, so that the host need not wait for the device in
    each step. A skipped step has changed nothing, so the delay does no harm.
    """

    def __init__(self, path: Path, *, limit: int, period: int, with_scaler: bool = False) -> None:
        self.path = path
        self.limit = limit
        self.period = period
        self.with_scaler = with_scaler
        self.skipped = 0
        self.in_a_row = 0
        self._pending: list[FinishedStep] = []

    def __call__(self, step: FinishedStep) -> None:
        self._pending.append(step)
        if step.is_last or step.iteration % self.period == 0:
            pending, self._pending = self._pending, []
            finite = torch.stack([each.finite for each in pending]).tolist()
            for each, is_finite in zip(pending, finite, strict=True):
                self._review(each, is_finite)

    def _review(self, step: FinishedStep, is_finite: bool) -> None:
        if is_finite:
            self.in_a_row = 0
            return
        self.skipped += 1
        self.in_a_row += 1
        self._record(step)
        logger.warning(
            "Iteration %d was skipped: its loss or gradient is not finite.", step.iteration
        )
        is_at_end = step.iteration >= step.max_iteration and not self.with_scaler
        if self.in_a_row >= self.limit or (is_at_end and 2 * self.in_a_row > step.iteration):
            raise NonFiniteError(
                f"the loss or the gradient was not finite in the last {self.in_a_row} of "
                f"{step.iteration} iterations; the images and losses of all skipped steps are "
                f"listed in {self.path}. "
                "A lower learning rate, a longer warm-up or gradient clipping may help"
            )

    def _record(self, step: FinishedStep) -> None:
        record: dict[str, Any] = {
            "iteration": step.iteration,
            "rank": distributed.rank(),
            "image_ids": step.image_ids,
            "losses": {name: _json_number(loss.item()) for name, loss in step.losses.items()},
        }
        records = distributed.gather_objects(record)
        if distributed.is_main_process():
            try:
                with self.path.open("a") as file:
                    file.writelines(json.dumps(line) + "\n" for line in records)
            except OSError as error:  # a run does not end for want of a line
                logger.warning("%s cannot be written: %s", self.path, error)


def _json_number(value: float) -> float | str:
    """Replace NaN and infinity, which JSON lacks, by text."""
    return value if math.isfinite(value) else str(value)
