"""The detector on an accelerator: no tensor on the host, no synchronization."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

import centernet2
from centernet2.devices import UnitScaler
from centernet2.kernels import dispatch
from centernet2.models.postprocess import to_original
from centernet2.ops import tensors
from centernet2.structures import Batch, Proposals, Target
from centernet2.training import loop, optim
from centernet2.training.ema import AveragedWeights
from centernet2.training.optim import clip_gradients, sgd
from centernet2.training.schedule import Schedule
from tests.helpers.networks import MODELS, build, scene
from tests.helpers.pretend import DEVICE, PretendDevice, PretendTensor

KINDS = [
    pytest.param(kind, marks=pytest.mark.slow if kind in ("deformable", "bifpn") else ())
    for kind in MODELS
]


@pytest.fixture(params=["kernels", "plain tensors"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The device, with torchvision's kernels except NMS, or without any."""
    give_kernels(monkeypatch, ("roi_align", "deform_conv2d") if request.param == "kernels" else ())
    return str(request.param)


def give_kernels(monkeypatch: pytest.MonkeyPatch, operators: tuple[str, ...]) -> None:
    """Let torchvision have kernels of only these operators for the device."""
    monkeypatch.setattr(
        dispatch, "has_torchvision_kernel", lambda operator, device_type: operator in operators
    )
    dispatch.CHOSEN.clear()


@pytest.fixture(autouse=True)
def _choose_anew() -> Iterator[None]:
    yield
    dispatch.CHOSEN.clear()


def moved(images: list[Tensor], targets: list[Target]) -> tuple[list[Tensor], list[Any]]:
    there = [image.to(DEVICE, non_blocking=True) for image in images]
    return there, [
        {k: v.to(DEVICE, non_blocking=True) for k, v in target.items()} for target in targets
    ]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
def test_training_step(kind: str, device: str) -> None:
    model = build(kind).train()
    images, targets = scene()
    expected = {name: loss.item() for name, loss in model(images, targets).items()}
    assert len(expected) >= 2
    with PretendDevice() as pretend:
        model.to(DEVICE)
        there = moved(images, targets)
        pretend.waits.clear()
        torch.manual_seed(0)
        losses = model(*there)
        torch.stack(list(losses.values())).sum().backward()
        waits = dict(pretend.waits)
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert gradients and all(isinstance(gradient, PretendTensor) for gradient in gradients)
        actual = {name: loss.item() for name, loss in losses.items()}
    assert actual.keys() == expected.keys()
    # the others learn from a random sample
    for name in (name for name in actual if "centernet" in name):
        assert actual[name] == pytest.approx(expected[name], rel=1e-3)
    if device == "kernels":
        assert waits == {}


def test_host_waits_for_no_copy_of_images_and_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    give_kernels(monkeypatch, ("roi_align", "deform_conv2d"))
    model = build("masks").train()
    with PretendDevice() as pretend:
        model.to(DEVICE)
        pretend.waits.clear()
        torch.stack(list(model(*scene()).values())).sum().backward()
    assert not pretend.waits


def test_devices_that_read_later_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that is left unfinished would read memory that has other content by then."""
    give_kernels(monkeypatch, ("roi_align", "deform_conv2d"))
    assert not tensors.can_copy_later(torch.device("mps"))
    monkeypatch.setattr(tensors, "READING_LATER", (DEVICE.type,))
    monkeypatch.setattr(loop, "autocast", lambda *_: nullcontext())  # which only real devices have
    model = build("masks").train()
    images, targets = scene()
    with RecordingDevice() as pretend:
        model.to(DEVICE)
        loop.accumulate_gradients(
            model, [Batch(images, targets, [0, 1], [1, 2], [(64, 96), (90, 60)])],
            accelerator=cast(Any, SimpleNamespace(device=DEVICE)),
            scaler=UnitScaler("cpu"), precision="fp32",
        )  # fmt: skip
    assert len(pretend.later) > 4 and not any(pretend.later)


class RecordingDevice(PretendDevice):
    """Record whether each copy to the device may be left unfinished."""

    def __init__(self) -> None:
        super().__init__()
        self.later: list[bool] = []

    def _copy(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        is_from_host = not isinstance(args[0], PretendTensor)
        if is_from_host and torch.device(kwargs.get("device") or "cpu") == DEVICE:
            self.later.append(bool(kwargs.get("non_blocking")))
        return super()._copy(func, args, kwargs)


@pytest.mark.parametrize("faster", [False, True], ids=["plain", "optimized"])
@pytest.mark.parametrize("kind", KINDS)
def test_inference(kind: str, faster: bool, device: str) -> None:
    model = build(kind).eval()
    images, _ = scene()
    with torch.no_grad():
        expected = model(images)
        with PretendDevice():
            model.to(DEVICE)
            if faster:  # its new layers lie there too
                centernet2.optimize_for_inference(model)
            actual = model([image.to(DEVICE) for image in images])
            actual = [{key: value.cpu() for key, value in each.items()} for each in actual]
    assert sum(len(each["boxes"]) for each in expected)
    for ours, wanted in zip(actual, expected, strict=True):
        for key in wanted:
            # of an untrained head: rounding moves probabilities across a half
            if faster and key == "masks":
                assert (ours[key] != wanted[key]).float().mean() < 0.01
            else:
                torch.testing.assert_close(ours[key], wanted[key], rtol=1e-3, atol=1e-2)


def test_host_waits_once_for_the_rows_that_remain() -> None:
    boxes, kept = torch.tensor([[0.0, 0, 9, 9], [5, 5, 5, 9]]), torch.tensor([True, False])
    scores, labels = torch.tensor([0.9, 0.8]), torch.tensor([1, 0])
    with PretendDevice() as pretend:
        columns = [x.to(DEVICE) for x in (boxes, scores, labels, kept)]
        pretend.waits.clear()
        found, _ = to_original(
            {"boxes": columns[0], "scores": columns[1], "labels": columns[2]}, (10, 10), (20, 20)
        )
        proposals = Proposals(*columns).without_padding()
        assert pretend.waits == {"aten::nonzero": 2}
        assert found["boxes"].cpu().tolist() == [[0, 0, 18, 18]]
        assert proposals.scores.cpu().tolist() == pytest.approx([0.9])


def test_host_waits_in_inference_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for all proposals; for each image's scores above the threshold, and kept boxes.

    docs/performance.md lists NMS besides, by a kernel that this device has not.
    """
    give_kernels(monkeypatch, ("roi_align", "deform_conv2d"))
    model, (images, _) = build("two-stage").eval(), scene()
    with torch.no_grad(), PretendDevice() as pretend:
        model.to(DEVICE)
        there = [image.to(DEVICE, non_blocking=True) for image in images]
        pretend.waits.clear()
        model.detect(there)
        assert pretend.waits == {"to the host": 1, "aten::nonzero": 2 * len(images)}


def test_pretend_device_refuses_host_tensors() -> None:
    with PretendDevice() as pretend:
        x = torch.ones(3, device=DEVICE)
        with pytest.raises(RuntimeError, match="lie on the CPU"):
            x + torch.ones(3)
        with pytest.raises(RuntimeError, match=r"torch\.tensor"):
            x + torch.tensor([1.0, 2, 3], device=DEVICE)
        assert not pretend.waits
        x[x > 0]
        (x > 0).nonzero()
        x.sum().item()
        x.cpu()
        torch.ones(3).to(DEVICE)
    named = ["aten::index", "aten::nonzero", "aten::_local_scalar_dense"]
    assert set(pretend.waits) == {*named, "to the host", "to the device"}


def test_training_loop_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the batch to the schedule, with clipping and averaged weights."""
    give_kernels(monkeypatch, ("roi_align", "deform_conv2d"))
    monkeypatch.setattr(loop, "autocast", lambda *_: nullcontext())  # which only real devices have
    monkeypatch.setattr(optim, "FUSED_DEVICES", ("meta",))
    monkeypatch.setattr(
        sys.modules["torch.optim.sgd"], "_device_dtype_check_for_fused", lambda *_: None
    )
    images, targets = scene()
    batch = Batch(images, targets, indices=[0, 1], image_ids=[1, 2], sizes=[(64, 96), (90, 60)])
    model = build("two-stage").train()
    with PretendDevice() as pretend:
        model.to(DEVICE)
        before = [p.detach().cpu() for p in model.parameters() if p.requires_grad]
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = sgd([{"params": trained}], lr=0.01, momentum=0.9, nesterov=False)
        average = AveragedWeights(model, decay=0.9, warmup_iters=1)
        accelerator: Any = SimpleNamespace(device=DEVICE, no_sync=lambda model: nullcontext())
        clip = partial(clip_gradients, clip_type="norm", clip_value=1.0, norm_type=2.0)
        pretend.waits.clear()
        loop.train_loop(
            model, optimizer, Schedule(optimizer, lambda step: 1.0), iter([batch] * 3),
            accelerator=accelerator, scaler=UnitScaler("cpu"), start_iteration=0, max_iteration=3,
            options=loop.StepOptions(clip=clip), callbacks=[average],
        )  # fmt: skip
        waits = dict(pretend.waits)
        after = [p.detach().cpu() for p in model.parameters() if p.requires_grad]
    assert waits == {}
    assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
