"""Measure a detector with batches of one shape after the other."""

import statistics
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from centernet2.devices import Precision, autocast, peak_memory, reset_peak_memory
from centernet2.models.detector import Detector
from centernet2.models.optimize import optimize_for_inference, optimize_for_training
from centernet2.profiling.operations import count_operations
from centernet2.profiling.records import SelectedCounts, ShapeMetrics, Spread
from centernet2.profiling.stage_clock import StageClock, Work, measure_whole
from centernet2.profiling.workload import count_selected, fill_selections, make_images, make_targets

WARM_UP_PASSES = 2  # passes of each shape that are not counted
InputShape = tuple[int, int, int]  # images, height, width


class Meter:
    """Measure a detector, in inference or in training as the model's mode is.

    Args:
        model: not run before: it gets hooks, is optimized, and its thresholds are set so that its
            selections are full.
        plan: the model on the meta device, of which operations are counted.
        dtype, compile: see `optimize_for_inference`; in training, mixed precision and
            `optimize_for_training`. Each shape is compiled for separately.
        runs: passes that count.
    """

    def __init__(
        self, model: Detector, plan: Detector, *, dtype: Precision, compile: bool, runs: int
    ) -> None:
        self.model = model
        self.plan = plan
        self.device = model.preprocess.mean.device
        self.clock = StageClock(model)
        self.dtype = dtype
        self.compiled = compile
        self.runs = runs
        if model.training:
            optimize_for_training(model, compile=compile)
        else:
            optimize_for_inference(model, dtype=dtype, compile=compile)

    def measure(
        self, shape: InputShape, on_pass: Callable[[], None] = lambda: None
    ) -> ShapeMetrics:
        """Measure a shape; `on_pass` is called after 2 * (WARM_UP_PASSES + runs) passes."""
        if self.compiled:
            torch.compiler.reset()
        count, height, width = shape
        images = make_images(count, (height, width))
        selected = None
        if self.model.training:
            work = self._training_step(images)
        else:
            work = torch.inference_mode()(lambda: self.model(images))
            fill_selections(self.model, images)
            selected = count_selected(self.model, images)
        reset_peak_memory(self.device)
        whole: list[float] = []
        stages: list[dict[str, float]] = []
        for _ in range(WARM_UP_PASSES + self.runs):
            whole.append(measure_whole(work, self.device))
            on_pass()
            stages.append(self.clock.measure(work))
            on_pass()
        seconds, counted = spread(whole[WARM_UP_PASSES:]), stages[WARM_UP_PASSES:]
        return ShapeMetrics(
            batch_size=count,
            height=height,
            width=width,
            seconds=seconds,
            stages={name: spread([each[name] for each in counted]) for name in self.clock.stages},
            images_per_second=count / seconds.median,
            peak_memory=peak_memory(self.device),
            selected=selected,
            operations=None if selected is None else self._operations(shape, selected),
        )

    def _operations(self, shape: InputShape, selected: SelectedCounts) -> dict[str, int]:
        return count_operations(
            self.plan,
            (shape[0], *self.plan.preprocess.padded_size(*shape[1:])),
            proposals=selected.proposals,
            detections=selected.detections,
        )

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
