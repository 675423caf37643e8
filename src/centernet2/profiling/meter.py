"""Measures a detector with batches of one shape after the other."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from centernet2.builders.loading import config_of
from centernet2.devices import (
    Precision,
    autocast,
    peak_memory,
    reset_peak_memory,
)
from centernet2.models.detector import Detector
from centernet2.models.optimize import optimize_for_inference, optimize_for_training
from centernet2.profiling.costs import count_operations, padded, plan_detector
from centernet2.profiling.matmul_peak import Peak
from centernet2.profiling.stage_clock import StageClock, Work, measure_whole
from centernet2.profiling.workload import (
    Load,
    count_load,
    fill_selections,
    make_images,
    make_targets,
)

WARM_UP = 2  # passes of each shape that are not counted
Shape = tuple[int, int, int]  # images, height, width


@dataclass(frozen=True)
class Spread:
    """Seconds of several runs."""

    median: float
    min: float
    max: float


@dataclass(frozen=True)
class Figures:
    """What was measured with one batch size and one image size."""

    batch_size: int
    height: int
    width: int
    seconds: Spread  # of the whole pass
    stages: dict[str, Spread]  # of other passes, which waited for the device after each stage
    images_per_second: float
    peak_memory: int  # bytes; on the CPU those of the process so far
    load: Load | None  # None: a training step, which samples its regions
    operations: dict[str, int] | None  # of the whole batch by stage; None: of a training step
    operations_per_second: float | None = None
    share_of_peak: float | None = None

    def against(self, peak: Peak) -> "Figures":
        """The figures with the speed that operations and time give, and its share of the machine's peak."""
        if self.operations is None:
            return self
        speed = sum(self.operations.values()) / self.seconds.median
        return replace(
            self, operations_per_second=speed, share_of_peak=speed / peak.operations_per_second
        )


class Meter:
    """Measures a detector, in inference or in training as the model's mode is.

    Args:
        model: not run before: it gets hooks, is sped up, and its thresholds are set so that its selections are full.
        dtype, compile: see `optimize_for_inference`; in training, mixed precision and
            `optimize_for_training`. Each shape is
            compiled for as if there were no other.
        runs: passes that count.
    """

    def __init__(self, model: Detector, *, dtype: Precision, compile: bool, runs: int) -> None:
        self.model = model
        self.config = config_of(model.info)
        self.device = model.preprocess.mean.device
        self.plan = plan_detector(self.config)
        self.clock = StageClock(model)
        self.dtype = dtype
        self.compiled = compile
        self.runs = runs
        if model.training:
            optimize_for_training(model, compile=compile)
        else:
            optimize_for_inference(model, dtype=dtype, compile=compile)

    def measure(self, shape: Shape, on_pass: Callable[[], None] = lambda: None) -> Figures:
        """The figures of one shape; `on_pass` hears of each of 2 * (WARM_UP + runs) passes."""
        if self.compiled:
            torch.compiler.reset()
        images = make_images(shape[0], shape[1:])
        load = None
        if not self.model.training:
            fill_selections(self.model, images)
            load = count_load(self.model, images)
        work = self._training_step(images) if self.model.training else self._inference(images)
        reset_peak_memory(self.device)
        whole: list[float] = []
        stages: list[dict[str, float]] = []
        for _ in range(WARM_UP + self.runs):
            whole.append(measure_whole(work, self.device))
            on_pass()
            stages.append(self.clock.measure(work))
            on_pass()
        counted = {name: [each[name] for each in stages[WARM_UP:]] for name in self.clock.stages}
        return self._figures(shape, whole[WARM_UP:], counted, load)

    def _figures(
        self, shape: Shape, whole: list[float], stages: dict[str, list[float]], load: Load | None
    ) -> Figures:
        count, height, width = shape
        seconds = spread(whole)
        operations = None
        if load is not None:
            network_input = (count, padded(height, self.plan), padded(width, self.plan))
            operations = count_operations(
                self.plan, network_input, regions=load.proposals, objects=load.detections
            )
        return Figures(
            batch_size=count,
            height=height,
            width=width,
            seconds=seconds,
            stages={name: spread(values) for name, values in stages.items()},
            images_per_second=count / seconds.median,
            peak_memory=peak_memory(self.device),
            load=load,
            operations=operations,
        )

    def _inference(self, images: Sequence[Tensor]) -> Work:
        return torch.inference_mode()(lambda: self.model(images))

    def _training_step(self, images: Sequence[Tensor]) -> Work:
        targets = make_targets(self.model, images)

        def step() -> None:
            with autocast(self.device, self.dtype):
                losses = self.model(images, targets)
            torch.autograd.backward(torch.stack(list(losses.values())).sum())
            self.model.zero_grad()

        return step


def spread(seconds: Sequence[float]) -> Spread:
    """Median and extremes."""
    return Spread(statistics.median(seconds), min(seconds), max(seconds))
