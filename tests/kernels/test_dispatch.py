"""The choice of kernels, and their names in `centernet2 doctor`."""

import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, SimpleNamespace
from typing import Any

import pytest
import torch

import centernet2
from centernet2.kernels import dispatch
from centernet2.kernels.dispatch import KERNELS, Situation, choose, describe_kernels
from tests.helpers.networks import build, scene

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _choose_anew() -> Iterator[None]:
    dispatch.CHOSEN.clear()
    yield
    dispatch.CHOSEN.clear()


@pytest.mark.parametrize(("operator", "device", "situation", "registered", "package", "chosen"), [
    ("nms", "cpu", "eager", True, False, "cpu"),
    ("nms", "cpu", "compiled", True, False, "cpu"),
    ("nms", "cuda", "eager", True, False, "torchvision"),
    ("nms", "npu", "eager", False, True, "torch_npu"),
    ("nms", "npu", "eager", False, False, "portable"),
    ("roi_align", "cpu", "eager", True, False, "cpu"),
    ("roi_align", "cpu", "compiled", True, False, "torchvision"),
    ("roi_align", "cpu", "exported", True, False, "torchvision"),
    ("roi_align", "xpu", "eager", False, False, "portable"),
    ("deform_conv2d", "cpu", "eager", True, False, "cpu"),
    ("deform_conv2d", "npu", "eager", False, True, "portable"),
    ("conv2d", "cpu", "compiled", True, False, "winograd"),
    ("conv2d", "cpu", "exported", True, False, "torch"),
    ("conv2d", "cuda", "eager", True, False, "torch"),
    ("heatmap", "cpu", "eager", True, False, "cpu"),
    ("heatmap", "cuda", "eager", True, False, "portable"),
    ("paste_masks", "cuda", "eager", True, False, "whole"),
])  # fmt: skip
def test_choice_by_device_and_situation(
    monkeypatch: pytest.MonkeyPatch,
    operator: str,
    device: str,
    situation: Situation,
    registered: bool,
    package: bool,
    chosen: str,
) -> None:
    monkeypatch.setattr(dispatch, "has_torchvision_kernel", lambda *_: registered)
    monkeypatch.setattr(
        dispatch.importlib.util, "find_spec", lambda _: SimpleNamespace() if package else None
    )
    assert choose(operator, device, situation) == chosen


def test_registered_torchvision_kernels() -> None:
    for operator in ("nms", "roi_align", "deform_conv2d"):
        assert dispatch.has_torchvision_kernel(operator, "cpu")
    assert not dispatch.has_torchvision_kernel("nms", "mtia")


def test_missing_kernel_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert [choose("nms", "mtia", "eager") for _ in range(3)] == ["portable"] * 3
    assert len(caplog.records) == 1 and "no kernel for mtia" in caplog.text


def code_of_calls(work: Callable[[], object]) -> set[CodeType]:
    """The Python functions that are called while `work` runs."""
    called: set[CodeType] = set()

    def look(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            called.add(frame.f_code)

    sys.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(None)
    return called


def test_reported_kernels_are_used() -> None:
    images, targets = scene()
    trained = build("masks").train()
    optimized = centernet2.optimize_for_inference(build("masks"))
    deformable = build("deformable").eval()

    def work() -> None:
        with torch.no_grad():
            trained(images, targets)
            optimized(images)
            deformable(images)

    called = code_of_calls(work)
    named = {line[:14].strip(): line[14:] for line in describe_kernels(CPU)}
    assert named.keys() == KERNELS.keys()
    for operator, row in KERNELS.items():
        ran = {k.description for k in row.values() if code_of(k) in called}
        assert named[operator] in ran
        others = {k.run for k in row.values() if k.description != named[operator]}
        expected = {k.run for k in row.values() if k.description == named[operator]}
        strange = [k for k in others - expected if k.__name__ not in PARTS]
        assert not any(k.__code__ in called for k in strange), operator


def code_of(kernel: dispatch.Kernel) -> CodeType:
    code: CodeType = kernel.run.__code__  # type: ignore[attr-defined]
    return code


# kernels to which another one leaves a part of its work
PARTS = ("conv2d_torch", "gaussian_heatmap")
