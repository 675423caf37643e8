"""A clock of a detector's stages."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from centernet2.devices import synchronize
from centernet2.models.detector import Detector

Work = Callable[[], object]


class StageEnd(NamedTuple):
    """A stage ends before or after the forward of a module."""

    stage: str
    module: nn.Module
    before: bool = False


class StageClock:
    """Measure a detector stage by stage; a stage begins where the previous one ends.

    The stages leave no time out, so that they sum up to the whole pass. An accelerator is waited
    for at the end of each stage, so it cannot run behind the host: the whole pass is timed
    separately for that reason.

    Args:
        model: gets hooks; in training mode the stages are those of a training step. Build the clock
            before the first pass of a compiled model, which keeps the hooks that it has then.
    """

    def __init__(self, model: Detector) -> None:
        self.device = model.preprocess.mean.device
        self.last = "backward" if model.training else "postprocess"
        ends = list(_training_ends(model) if model.training else _inference_ends(model))
        names = [end.stage for end in ends if end.stage != self.last]
        self.stages = list(dict.fromkeys([*names, self.last]))
        self._seconds: dict[str, float] | None = None  # None: no pass is being measured
        self._since = 0.0
        for end in ends:
            module = end.module
            add = module.register_forward_pre_hook if end.before else module.register_forward_hook
            add(self._hook(end.stage))

    def measure(self, work: Work) -> dict[str, float]:
        """Measure the seconds of each stage in one pass."""
        synchronize(self.device)
        seconds = self._seconds = dict.fromkeys(self.stages, 0.0)
        self._since = time.perf_counter()
        work()
        self._end(self.last)
        self._seconds = None
        return seconds

    def _hook(self, stage: str) -> Callable[..., None]:
        @torch.compiler.disable  # type: ignore[untyped-decorator]
        def hook(*_: Any) -> None:
            self._end(stage)

        return hook  # type: ignore[no-any-return]

    def _end(self, stage: str) -> None:
        if self._seconds is None:
            return
        synchronize(self.device)
        now = time.perf_counter()
        self._seconds[stage] += now - self._since
        self._since = now


def measure_whole(work: Work, device: torch.device) -> float:
    """Measure the seconds of one pass, waiting for the device at its end alone."""
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def _inference_ends(model: Detector) -> Iterator[StageEnd]:
    first, second = model.proposal_generator, model.roi_heads
    yield from _common_ends(model)
    yield StageEnd("first_stage_head", first.head)
    yield StageEnd("first_stage_decoding", first)
    if second is None:
        return
    yield StageEnd("roi_heads_boxes", second.stages[-1])
    if second.mask_branch is not None:
        # before it is the selection of detections; pasting the masks follows
        yield StageEnd("postprocess", second.mask_branch, before=True)
        yield StageEnd("roi_heads_masks", second.mask_branch)


def _training_ends(model: Detector) -> Iterator[StageEnd]:
    yield from _common_ends(model)
    yield StageEnd("first_stage", model.proposal_generator)
    if model.roi_heads is not None:
        yield StageEnd("roi_heads", model.roi_heads)


def _common_ends(model: Detector) -> Iterator[StageEnd]:
    yield StageEnd("preprocess", model.preprocess)
    yield StageEnd("backbone", model.backbone)
    yield StageEnd("neck", model.neck)
