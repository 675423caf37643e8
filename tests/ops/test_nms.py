"""Which boxes stay: every implementation agrees with torchvision's."""

from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from centernet2.ops import dispatch
from centernet2.ops.nms import _npu_mask, nms_mask, nms_per_class, portable_mask


def crowd(count: int, *, classes: int = 1, ties: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes that overlap a lot, best first: whole numbers, so that overlaps meet thresholds exactly; some empty."""
    random = torch.Generator().manual_seed(count)
    low = torch.randint(0, 60, (count, 2), generator=random)
    extent = torch.randint(0, 40, (count, 2), generator=random)
    scores = torch.rand(count, generator=random)
    if ties:
        scores = (scores * 10).round() / 10
    scores = scores.sort(descending=True, stable=True).values
    return (
        torch.cat([low, low + extent], 1).float(),
        scores,
        torch.randint(classes, (count,), generator=random),
    )


def expected(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    return torch.zeros(len(boxes), dtype=torch.bool).index_fill(
        0, batched_nms(boxes, scores, labels, threshold), True
    )


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.6, 0.7, 0.9])
@pytest.mark.parametrize(("count", "classes"), [(1, 1), (255, 1), (900, 1), (900, 7)])
def test_plain_tensor_operations_equal_torchvision(
    count: int, classes: int, threshold: float
) -> None:
    boxes, scores, labels = crowd(count, classes=classes, ties=True)
    assert torch.equal(
        portable_mask(boxes, labels, threshold), expected(boxes, scores, labels, threshold)
    )


def test_a_chain_in_which_each_box_hangs_on_the_one_before() -> None:
    low = torch.arange(600.0)[:, None] * torch.tensor([4.0, 0.0])
    boxes = torch.cat([low, low + 10], dim=1)  # neighbours overlap by 3 / 7, others less
    assert portable_mask(boxes, None, 0.4).tolist() == [i % 2 == 0 for i in range(600)]


@pytest.mark.parametrize("limit", [1, 7, 60, 10_000])
def test_the_mask_may_end_behind_as_many_as_are_wanted(limit: int) -> None:
    boxes, scores, labels = crowd(700, ties=True)
    scores = torch.where(torch.arange(700) < 650, scores, -1.0)  # padding
    mask = nms_mask(boxes, scores, None, 0.5, limit=limit)
    wanted = expected(boxes, scores, labels, 0.5) & (scores >= 0)
    kept = scores[wanted]
    last = kept[min(limit, len(kept)) - 1]
    assert torch.equal(mask & (scores >= last), wanted & (scores >= last))
    assert not (mask & ~wanted).any()


def test_indices_come_best_first() -> None:
    boxes, _, labels = crowd(300, classes=3)
    scores = torch.rand(300, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        nms_per_class(boxes, scores, labels, 0.5), batched_nms(boxes, scores, labels, 0.5)
    )


def test_ascends_own_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def npu_nms_v4(
        boxes: Tensor, scores: Tensor, size: int, iou: Tensor, least: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Its documented result: as many indices as asked for, and how many of them mean something."""
        keep = torch.ops.torchvision.nms(boxes, scores, iou.item())
        return torch.nn.functional.pad(keep, (0, size - len(keep))).int(), torch.tensor(len(keep))

    module = ModuleType("torch_npu")
    module.__dict__["npu_nms_v4"] = npu_nms_v4
    monkeypatch.setitem(__import__("sys").modules, "torch_npu", module)
    boxes, scores, labels = crowd(300, classes=3)
    assert torch.equal(_npu_mask(boxes, scores, labels, 0.5), expected(boxes, scores, labels, 0.5))


@pytest.mark.parametrize(
    ("operator", "device", "registered", "package", "chosen"),
    [
        ("nms", "cuda", True, False, "torchvision"),
        ("nms", "npu", False, True, "torch_npu"),
        ("nms", "npu", False, False, "ours"),
        ("roi_align", "xpu", False, False, "ours"),
        ("deform_conv2d", "npu", False, True, "ours"),
        ("roi_align", "cpu", True, False, "ours"),
        ("nms", "cpu", True, False, "torchvision"),
    ],
)
def test_the_rule(
    monkeypatch: pytest.MonkeyPatch,
    operator: str,
    device: str,
    registered: bool,
    package: bool,
    chosen: str,
) -> None:
    monkeypatch.setattr(dispatch, "has_torchvision_kernel", lambda *_: registered)
    monkeypatch.setattr(
        dispatch.importlib.util, "find_spec", lambda _: SimpleNamespace() if package else None
    )
    assert dispatch.backend.__wrapped__(operator, device) == chosen


def test_what_torchvision_has_registered() -> None:
    assert all(dispatch.has_torchvision_kernel(operator, "cpu") for operator in dispatch.OPERATORS)
    assert not dispatch.has_torchvision_kernel("nms", "mtia")


def test_a_fallback_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    dispatch.backend.cache_clear()
    with caplog.at_level("INFO"):
        assert [dispatch.backend("nms", "mtia") for _ in range(3)] == ["ours"] * 3
    assert len(caplog.records) == 1 and "no kernel for mtia" in caplog.text
