"""The clock of stages: which time goes to which stage."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from centernet2.builders.detector.loading import config_of
from centernet2.builders.detector.network import build_on_meta
from centernet2.models import postprocess
from centernet2.profiling import stage_clock
from centernet2.profiling.meter import Meter
from centernet2.profiling.stage_clock import StageClock
from centernet2.profiling.workload import make_images, make_targets
from tests.helpers.networks import build

MASK_STAGES = [
    "preprocess", "backbone", "neck", "first_stage_head", "first_stage_decoding", "roi_heads_boxes",
    "roi_heads_masks", "postprocess",
]  # fmt: skip


class FakeClock:
    """A clock that advances only by calls of its hooks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(stage_clock, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def spend(self, seconds: float) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            self.now += seconds

        return hook

    def around(self, function: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        def slower(*arguments: Any, **options: Any) -> Any:
            self.now += seconds
            return function(*arguments, **options)

        return slower


def test_time_of_parts_goes_to_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    model, time = build("masks").eval(), FakeClock(monkeypatch)
    first, second = model.proposal_generator, model.roi_heads
    assert second is not None and second.mask_branch is not None
    parts = [
        model.preprocess, model.backbone, model.neck, first.head, second.stages[0],
        second.mask_branch.head,
    ]  # fmt: skip
    for part, seconds in zip(parts, (1, 2, 4, 8, 16, 32), strict=True):
        part.register_forward_pre_hook(time.spend(seconds))
    second.mask_branch.pooler.register_forward_hook(time.spend(64))
    first.decoder.register_forward_hook(time.spend(128))
    monkeypatch.setattr(second, "selection", time.around(second.selection, 256))
    monkeypatch.setattr(
        postprocess, "paste_box_masks", time.around(postprocess.paste_box_masks, 512)
    )
    clock = StageClock(model)
    assert clock.stages == MASK_STAGES
    with torch.inference_mode():
        seconds = clock.measure(lambda: model(make_images(1, (64, 96))))
        again = clock.measure(lambda: model(make_images(1, (64, 96))))
    assert again == seconds  # nothing of the first pass is left
    assert list(seconds.values()) == [1, 2, 4, 8, 128, 16, 32 + 64, 256 + 512]


def test_stages_of_a_training_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model, time = build("two-stage"), FakeClock(monkeypatch)
    for part, seconds in zip(
        [model.preprocess, model.proposal_generator, model.roi_heads], (1, 2, 4), strict=True
    ):
        assert part is not None
        part.register_forward_pre_hook(time.spend(seconds))
    clock, images = StageClock(model), make_images(1, (64, 96))

    def step() -> None:
        model(images, make_targets(model, images))
        time.now += 8

    seconds = clock.measure(step)
    expected = {
        "preprocess": 1, "backbone": 0, "neck": 0, "first_stage": 2, "roi_heads": 4, "backward": 8,
    }  # fmt: skip
    assert seconds == expected


def test_device_is_synchronized_after_each_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(stage_clock, "synchronize", waited.append)
    model = build("one-stage").eval()
    clock, images = StageClock(model), make_images(1, (64, 96))
    with torch.inference_mode():
        model(images)
        assert waited == []
        clock.measure(lambda: model(images))
    assert waited == [torch.device("cpu")] * (1 + len(clock.stages))


def test_compiled_model_keeps_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Module, "compile", lambda module: compile_eagerly(module))
    model = build("two-stage").eval()
    plan = build_on_meta(config_of(model.info))
    meter = Meter(model, plan, dtype="fp32", compile=True, runs=1)
    for width in (64, 96):
        assert min(stage.median for stage in meter.measure((1, 64, width)).stages.values()) > 0


def compile_eagerly(module: nn.Module) -> None:
    module._compiled_call_impl = torch.compile(module._call_impl, backend="eager")
