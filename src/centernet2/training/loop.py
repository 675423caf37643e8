"""The training loop."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from centernet2.devices import Precision, autocast
from centernet2.ops.tensors import can_copy_later
from centernet2.structures import Batch
from centernet2.training.nonfinite import BatchStatistics, are_gradients_finite
from centernet2.training.step import Callback, FinishedStep


@dataclass(frozen=True)
class StepOptions:
    """How one training step is computed."""

    precision: Precision = "fp32"
    accumulation_steps: int = 1  # batches whose gradients are accumulated
    clip: Callable[[list[nn.Parameter]], None] | None = None  # of gradients, in place


def train_loop(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: LRScheduler,
    batches: Iterator[Batch],
    *,
    accelerator: Accelerator,
    scaler: torch.amp.GradScaler,
    options: StepOptions,
    start_iteration: int,
    max_iteration: int,
    callbacks: Sequence[Callback],
) -> None:
    """Train a model that maps images and targets to a dictionary of losses.

    A step whose loss or gradient is not finite changes neither weights nor batch statistics nor
    optimizer state. The device decides: the scaler detects the value and a fused optimizer skips
    the step. (Without a fused optimizer the scaler synchronizes once per step.)

    Args:
        model: prepared by the accelerator.
        start_iteration: number of steps already done.
        max_iteration: number of the last step, which a callback may bring forward.
        callbacks: called in this order after each step.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    statistics = BatchStatistics(model)
    for iteration in range(start_iteration + 1, max_iteration + 1):
        started = time.perf_counter()
        step_batches = [next(batches) for _ in range(options.accumulation_steps)]
        data_time = time.perf_counter() - started
        model.train()  # a callback may have set evaluation mode
        optimizer.zero_grad()
        statistics.keep()
        losses = accumulate_gradients(
            model, step_batches, accelerator=accelerator, scaler=scaler, precision=options.precision
        )
        scaler.unscale_(optimizer)
        finite = are_gradients_finite(parameters)
        if options.clip is not None:
            options.clip(parameters)
        scaler.step(optimizer)
        scaler.update()
        statistics.restore_unless(finite)
        lr = max(float(group["lr"]) for group in optimizer.param_groups)
        scheduler.step()
        step = FinishedStep(
            iteration=iteration,
            max_iteration=max_iteration,
            losses=losses,
            finite=finite,
            image_ids=[image_id for batch in step_batches for image_id in batch.image_ids],
            lr=lr,
            data_time=data_time,
            step_time=time.perf_counter() - started,
        )
        for callback in callbacks:
            callback(step)
        if step.is_last:
            break


def accumulate_gradients(
    model: nn.Module,
    batches: Sequence[Batch],
    *,
    accelerator: Accelerator,
    scaler: torch.amp.GradScaler,
    precision: Precision,
) -> dict[str, Tensor]:
    """Accumulate the gradients of the batches of one step; return the mean losses.

    Processes exchange gradients at the last batch.
    """
    mean_losses: dict[str, Tensor] = {}
    device = accelerator.device
    for index, batch in enumerate(batches, start=1):
        with nullcontext() if index == len(batches) else accelerator.no_sync(model):
            batch = send_to_device(batch, device, non_blocking=can_copy_later(device))
            with autocast(device, precision):
                losses: dict[str, Tensor] = model(batch.images, batch.targets)
            total = torch.stack(list(losses.values())).sum() / len(batches)
            # The factor is 1, or NaN if the loss is not finite. Then all gradients are NaN, and
            # after the exchange those of every process, so that all processes skip the step.
            torch.autograd.backward(scaler.scale(total * (1 + 0 * total.detach())))
        for name, loss in losses.items():
            mean_losses[name] = mean_losses.get(name, 0) + loss.detach() / len(batches)
    return mean_losses
