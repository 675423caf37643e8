"""Winograd's algorithm against the direct one."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from centernet2.kernels import winograd

SHAPES = [  # images, channels in and out, height, width
    (1, 1, 1, 1, 1),
    (1, 3, 5, 4, 4),
    (2, 4, 3, 5, 7),
    (3, 8, 8, 9, 2),
    (2, 5, 6, 70, 83),
]
TOLERANCE = 1e-4  # of what the terms of a sum amount to


def scene(shape: tuple[int, ...], memory_format: torch.memory_format) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(0)
    n, channels, out, h, w = shape
    x, weight, bias, grad = (
        torch.randn(*size, generator=random)
        for size in ((n, channels, h, w), (out, channels, 3, 3), (out,), (n, out, h, w))
    )
    return x.to(memory_format=memory_format), weight, bias, grad.to(memory_format=memory_format)


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("tiles", [1, 40, 256])
@pytest.mark.parametrize("shape", SHAPES)
def test_convolution_equals_pytorchs(
    shape: tuple[int, ...],
    tiles: int,
    memory_format: torch.memory_format,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(winograd, "TILES_AT_ONCE", tiles)
    x, weight, bias, _ = scene(shape, memory_format)
    for added in (bias, None):
        expected = F.conv2d(
            x.double(), weight.double(), None if added is None else added.double(), padding=1
        )
        actual = winograd.convolve(x, winograd.transform_weight(weight), added)
        assert actual.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(actual.double(), expected, rtol=0, atol=TOLERANCE * shape[1])


@pytest.mark.parametrize("tiles", [1, 40, 256])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_equal_pytorchs(
    shape: tuple[int, ...], tiles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "TILES_AT_ONCE", tiles)
    x, weight, _, grad = scene(shape, torch.channels_last)
    inputs = x.double().requires_grad_(), weight.double().requires_grad_()
    for_x, for_weight = torch.autograd.grad(F.conv2d(*inputs, padding=1), inputs, grad.double())
    actual = winograd.input_gradient(grad, weight)
    torch.testing.assert_close(actual.double(), for_x, rtol=0, atol=TOLERANCE * shape[2])
    actual = winograd.weight_gradient(x, grad)
    terms = shape[0] * shape[3] * shape[4]
    torch.testing.assert_close(
        actual.double(), for_weight, rtol=0, atol=TOLERANCE * max(1, terms**0.5)
    )


def test_rounding_stays_small() -> None:
    x, weight, bias, _ = scene((1, 256, 64, 40, 40), torch.channels_last)
    exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    error = (winograd.convolve(x, winograd.transform_weight(weight), bias) - exact).abs().max()
    assert error < 1e-4 * exact.std()


@pytest.mark.parametrize(("weight", "geometry", "expected"), [
    # the geometry: stride, padding and dilation, two numbers each, and groups
    ((4, 4, 3, 3), [1, 1, 1, 1, 1, 1, 1], True),
    ((4, 4, 1, 1), [1, 1, 0, 0, 1, 1, 1], False),
    ((4, 4, 3, 3), [2, 2, 1, 1, 1, 1, 1], False),
    ((4, 4, 3, 3), [1, 1, 0, 0, 1, 1, 1], False),
    ((4, 4, 3, 3), [1, 1, 1, 1, 2, 2, 1], False),
    ((4, 2, 3, 3), [1, 1, 1, 1, 1, 1, 2], False),
    ((4, 4, 5, 3), [1, 1, 1, 1, 1, 1, 1], False),
])  # fmt: skip
def test_supported_geometries(weight: tuple[int, ...], geometry: list[int], expected: bool) -> None:
    assert winograd.applies(torch.empty(weight), geometry) is expected
