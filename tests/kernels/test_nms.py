"""Every kernel of non-maximum suppression keeps the same boxes."""

from types import ModuleType

import pytest
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from centernet2.kernels import nms_mask, nms_per_class
from centernet2.kernels.vendor import nms_npu
from tests.helpers.boxes import crowd, kept


@pytest.mark.parametrize("limit", [1, 7, 60, 10_000])
def test_mask_may_end_at_the_limit(limit: int) -> None:
    boxes, scores, labels = crowd(700, ties=True)
    scores = torch.where(torch.arange(700) < 650, scores, -1.0)  # padding
    mask = nms_mask(boxes, scores, None, 0.5, limit=limit)
    wanted = kept(boxes, scores, labels, 0.5) & (scores >= 0)
    scored = scores[wanted]
    last = scored[min(limit, len(scored)) - 1]
    assert torch.equal(mask & (scores >= last), wanted & (scores >= last))
    assert not (mask & ~wanted).any()


def test_indices_are_sorted_by_score() -> None:
    boxes, _, labels = crowd(300, classes=3)
    scores = torch.rand(300, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        nms_per_class(boxes, scores, labels, 0.5), batched_nms(boxes, scores, labels, 0.5)
    )


def test_ascend_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def npu_nms_v4(
        boxes: Tensor, scores: Tensor, size: int, iou: Tensor, least: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return as many indices as asked for, and how many count, as documented."""
        keep = torch.ops.torchvision.nms(boxes, scores, iou.item())
        return torch.nn.functional.pad(keep, (0, size - len(keep))).int(), torch.tensor(len(keep))

    module = ModuleType("torch_npu")
    module.__dict__["npu_nms_v4"] = npu_nms_v4
    monkeypatch.setitem(__import__("sys").modules, "torch_npu", module)
    boxes, scores, labels = crowd(300, classes=3)
    assert torch.equal(nms_npu(boxes, scores, labels, 0.5, 300), kept(boxes, scores, labels, 0.5))
