"""Deformable convolution of plain tensor operations against torchvision's kernel."""

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor

from centernet2.kernels import deform_conv_cpu, deformable_conv2d
from centernet2.ops.deform_conv import deform_conv2d

GEOMETRIES: list[dict[str, Any]] = [
    {},
    {"stride": (2, 2)},
    {"dilation": (2, 2), "padding": (2, 2)},
    {"groups": 4},
    {"parts": 2},
    {"groups": 2, "parts": 4},
    {"modulated": False},
    {"height": 1, "width": 2},
    {"batch": 0},
]


def example(
    *, groups: int = 1, parts: int = 1, modulated: bool = True, batch: int = 2,
    height: int = 13, width: int = 9,
    dtype: torch.dtype = torch.float32, **geometry: tuple[int, int],
) -> tuple[dict[str, Tensor], dict[str, Any]]:  # fmt: skip
    """Make inputs with gradients and the geometry; many samples lie far outside."""
    generator = torch.Generator().manual_seed(0)
    geometry = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)} | geometry
    h, w = ((side - 1) // geometry["stride"][0] + 1 for side in (height, width))

    def draw(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(*shape, generator=generator, dtype=dtype) * scale).requires_grad_()

    inputs = {
        "x": draw(batch, 8, height, width),
        "offset": draw(batch, 18 * parts, h, w, scale=4.0),
        "weight": draw(12, 8 // groups, 3, 3, scale=0.2),
        "bias": draw(12),
    }
    if modulated:
        inputs["mask"] = draw(batch, 9 * parts, h, w)
    return inputs, geometry


def ours(inputs: dict[str, Tensor], geometry: dict[str, Any]) -> Tensor:
    return deformable_conv2d(**{"mask": None} | inputs, **geometry)


def torchvisions(inputs: dict[str, Tensor], geometry: dict[str, Any]) -> Tensor:
    x, *rest = (inputs[name] for name in ("x", "offset", "weight", "bias"))
    return torchvision.ops.deform_conv2d(x, *rest, mask=inputs.get("mask"), **geometry)


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
@pytest.mark.parametrize("chunk", [100, 2**21])
def test_equals_torchvision_with_gradients(
    options: dict[str, Any], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deform_conv_cpu, "CHUNK_NUMBERS", chunk)
    inputs, geometry = example(**options)
    out = ours(inputs, geometry)
    if not options.get("batch", 1):
        assert out.shape == (0, 12, 13, 9)
        return
    expected = torchvisions(inputs, geometry)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    grad = torch.randn_like(expected)
    actual = torch.autograd.grad(out, list(inputs.values()), grad)
    wanted = torch.autograd.grad(expected, list(inputs.values()), grad)
    for name, a, b in zip(inputs, actual, wanted, strict=True):
        torch.testing.assert_close(
            a, b, rtol=1e-5, atol=1e-5 * max(1.0, float(b.abs().max())), msg=name
        )


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_definition_equals_kernel_with_gradients(options: dict[str, Any]) -> None:
    inputs, geometry = example(**options)
    defined = deform_conv2d(**{"mask": None} | inputs, **geometry)
    out = ours(inputs, geometry)
    torch.testing.assert_close(defined, out, rtol=1e-5, atol=1e-5)
    grad = torch.randn_like(out)
    actual, wanted = (torch.autograd.grad(y, list(inputs.values()), grad) for y in (defined, out))
    for a, b in zip(actual, wanted, strict=True):
        largest = float(b.abs().max()) if b.numel() else 0.0
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * max(1.0, largest))


def test_samples_at_the_border_and_on_pixels() -> None:
    inputs, geometry = example()
    with torch.no_grad():
        inputs["offset"].round_()
    out, expected = ours(inputs, geometry), torchvisions(inputs, geometry)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    actual, wanted = (
        torch.autograd.grad(y.square().sum(), inputs["offset"])[0] for y in (out, expected)
    )
    torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-3)


def test_gathering_equals_embedding_bag() -> None:
    rows, index = torch.randn(20, 4), torch.randint(20, (5, 6, 4))
    share = torch.rand(5, 6, 4)
    gathered = (rows[index] * share.unsqueeze(-1)).sum(dim=2)
    torch.testing.assert_close(deform_conv_cpu._samples(rows, index, share), gathered)


def test_bfloat16() -> None:
    inputs, geometry = example(dtype=torch.float32)
    half = {name: value.detach().bfloat16().requires_grad_() for name, value in inputs.items()}
    half["offset"] = inputs["offset"]  # positions need full precision
    out = ours(half, geometry)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), ours(inputs, geometry), rtol=0.05, atol=0.15)
    out.float().sum().backward()
    assert all(x.grad is not None and torch.isfinite(x.grad).all() for x in half.values())


def test_inputs_without_gradients() -> None:
    inputs, geometry = example()
    detached = {name: value.detach() for name, value in inputs.items()}
    with torch.inference_mode():
        torch.testing.assert_close(
            ours(detached, geometry), torchvisions(detached, geometry), rtol=1e-5, atol=1e-5
        )
    detached["weight"].requires_grad_()
    ours(detached, geometry).sum().backward()
    assert detached["weight"].grad is not None
