"""RoIAlign by matrix products against torchvision's and its definition."""

from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from centernet2.kernels import pyramid_roi_align
from centernet2.kernels.vendor import roi_align_npu, roi_align_torchvision
from centernet2.ops import roi_align as definition


def on_one_level(
    form: Any, feature: Tensor, rois: Tensor, *, scale: float, **options: Any
) -> Tensor:
    level = torch.zeros(len(rois), dtype=torch.long)
    pooled: Tensor = form([feature], rois, level, scales=[scale], **options)
    return pooled


roi_align = partial(on_one_level, pyramid_roi_align)


def make_rois(count: int, images: int, height: float, width: float) -> Tensor:
    """RoIs of every size and shape; many are outside, some empty or inverted."""
    generator = torch.Generator().manual_seed(count)
    draw = torch.rand(count, 4, generator=generator)
    low = (draw[:, :2] * 1.6 - 0.3) * torch.tensor([width, height])
    extent = draw[:, 2:] ** 3 * torch.tensor([width, height]) * 1.5
    extent[::7, 0] = 0
    extent[3::11] *= -1
    image = torch.randint(images, (count, 1), generator=generator).float()
    return torch.cat([image, low, low + extent], dim=1)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 2])
@pytest.mark.parametrize(("h", "w"), [(25, 38), (3, 1), (1, 1)])
def test_gradients_equal_torchvision(h: int, w: int, sampling_ratio: int, aligned: bool) -> None:
    feature = torch.randn(
        2, 5, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(h)
    )
    boxes = make_rois(120, 2, h * 8, w * 8).double()
    ours, theirs = feature.clone().requires_grad_(), feature.clone().requires_grad_()
    pooled = roi_align(
        ours, boxes, size=7, scale=1 / 8, sampling_ratio=sampling_ratio, aligned=aligned
    )
    expected = torchvision.ops.roi_align(theirs, boxes, 7, 1 / 8, sampling_ratio, aligned)
    torch.testing.assert_close(pooled, expected, rtol=1e-9, atol=1e-9)
    probe = torch.randn(
        expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    torch.testing.assert_close(
        *(
            torch.autograd.grad((out * probe).sum(), x)[0]
            for out, x in ((pooled, ours), (expected, theirs))
        ),
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_definition_equals_kernel_with_gradients(sampling_ratio: int) -> None:
    options: dict[str, Any] = {
        "size": 7, "scale": 1 / 8, "sampling_ratio": sampling_ratio, "aligned": True
    }  # fmt: skip
    boxes = make_rois(60, 2, 200, 304).double()
    results = []
    for form in (roi_align, definition.roi_align):
        feature = torch.randn(
            2, 5, 25, 38, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
        ).requires_grad_()
        pooled = form(feature, boxes, **options)
        results.append((pooled, torch.autograd.grad(pooled.square().sum(), feature)[0]))
    for ours, defined in zip(*results, strict=True):
        torch.testing.assert_close(ours, defined, rtol=1e-9, atol=1e-9)


def test_no_rois_give_zero_gradients() -> None:
    feature = torch.randn(1, 4, 6, 6, requires_grad=True)
    pooled = roi_align(
        feature, torch.zeros(0, 5), size=7, scale=1.0, sampling_ratio=0, aligned=True
    )
    assert pooled.shape == (0, 4, 7, 7)
    pooled.sum().backward()
    assert feature.grad is not None and not feature.grad.any()


def test_single_precision_under_autocast() -> None:
    feature, boxes = torch.randn(2, 5, 25, 38), make_rois(50, 2, 200, 300)
    exact = roi_align(feature, boxes, size=7, scale=1 / 8, sampling_ratio=0, aligned=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = roi_align(
            feature.bfloat16(), boxes, size=7, scale=1 / 8, sampling_ratio=0, aligned=True
        )
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, exact, rtol=0.01, atol=0.03)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
def test_torchvision_rounds_no_rois(dtype: torch.dtype, autocast: bool) -> None:
    """Eight bits of a coordinate above 512 would be multiples of 4 pixels."""
    feature = torch.randn(1, 4, 100, 160, generator=torch.Generator().manual_seed(0)).to(dtype)
    corner = torch.linspace(500, 700, 20)[:, None].expand(-1, 2) + 1.3
    boxes = torch.cat([torch.zeros(20, 1), corner, corner + 33.7], dim=1)
    options: dict[str, Any] = {"size": 7, "scale": 1 / 8, "sampling_ratio": 0, "aligned": True}
    expected = torchvision.ops.roi_align(feature.float(), boxes, 7, 1 / 8, 0, True)
    with torch.autocast("cpu", dtype=dtype, enabled=autocast):
        pooled = on_one_level(roi_align_torchvision, feature, boxes, **options)
    assert pooled.dtype == dtype  # as the feature maps
    torch.testing.assert_close(pooled.float(), expected, rtol=0.01, atol=0.01)


def test_part_of_a_batch_is_pooled() -> None:
    """It begins behind the start of its memory, and so do its pixels."""
    batch = torch.randn(3, 5, 25, 38).contiguous(memory_format=torch.channels_last)
    options: dict[str, Any] = {"size": 7, "scale": 1 / 8, "sampling_ratio": 0, "aligned": True}
    boxes = make_rois(50, 2, 200, 300)
    pooled, expected = (roi_align(x, boxes, **options) for x in (batch[1:], batch[1:].clone()))
    torch.testing.assert_close(pooled, expected)


def test_rois_of_lower_precision() -> None:
    feature, boxes = (
        torch.randn(1, 2, 9, 9, dtype=torch.float64),
        torch.tensor([[0, 3.0, 4, 40, 50]]),
    )
    pooled = roi_align(feature, boxes, size=3, scale=1 / 8, sampling_ratio=0, aligned=True)
    assert pooled.dtype == torch.float64


def test_ascend_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    class ROIAlign(nn.Module):
        """With the documented arguments of torch_npu.contrib.module.ROIAlign."""

        def __init__(
            self,
            output_size: tuple[int, int],
            spatial_scale: float,
            sampling_ratio: int,
            aligned: bool = True,
        ) -> None:
            super().__init__()
            self.arguments: Any = (output_size, spatial_scale, sampling_ratio, aligned)

        def forward(self, input_tensor: Tensor, rois: Tensor) -> Tensor:
            assert input_tensor.dtype == rois.dtype == torch.float32
            pooled: Tensor = torchvision.ops.roi_align(input_tensor, rois, *self.arguments)
            return pooled

    module = ModuleType("torch_npu.contrib.module")
    module.__dict__["ROIAlign"] = ROIAlign
    monkeypatch.setitem(__import__("sys").modules, "torch_npu.contrib.module", module)
    feature, boxes = torch.randn(2, 5, 25, 38), make_rois(50, 2, 200, 300)
    options: dict[str, Any] = {"size": 7, "sampling_ratio": 0, "aligned": True}
    pooled = on_one_level(roi_align_npu, feature.bfloat16(), boxes, scale=1 / 8, **options)
    expected = roi_align(
        feature.bfloat16(), boxes, size=7, scale=1 / 8, sampling_ratio=0, aligned=True
    )
    assert pooled.dtype == torch.bfloat16  # as the feature maps
    torch.testing.assert_close(pooled.float(), expected, rtol=0.01, atol=0.01)
