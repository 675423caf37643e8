"""Convolution, by the algorithm that is fastest for it, and with little kept for the backward pass."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from centernet2.ops import winograd
from centernet2.ops.precision import product_dtype

CHANNELS, TILES_PER_CHANNEL = (
    256,
    0.5,
)  # from these on, Winograd's transforms cost less than they save
TILES = 64  # the same for gradients of weights where the direct algorithm is slow
POINTWISE = [1, 1, 0, 0, 1, 1, 1]  # geometry of a 1 x 1 convolution of every pixel


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Sequence[int],
    *,
    gain: Tensor | None = None,
) -> Tensor:
    """torch.nn.functional.conv2d(x, weight * gain, bias), with a gain [O] that is not trained.

    On the CPU large convolutions of 3 x 3 are computed by Winograd's algorithm, whose results differ from the direct
    ones by some 1e-5 of their spread, and the product of weight and gain is not kept for the backward pass.

    Args:
        geometry: stride, padding and dilation, two numbers each, and groups.
    """
    if torch.compiler.is_compiling() and not weight.is_contiguous():
        # the tracer takes it that normalisation puts channels apart; where the weights' lie together, maps shall too
        x = x.contiguous(memory_format=torch.channels_last)
    with_graph = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    if not _is_ours(x) or not (with_graph or _pays(x, weight, geometry)):
        return _direct(x, weight, gain, bias, geometry)
    chosen = _conv2d if with_graph or torch.compiler.is_compiling() else _compute
    return cast(Tensor, chosen(x, weight, gain, bias, geometry))


def _is_ours(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and product_dtype(x) == torch.float32
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_exporting()
    )


def _pays(x: Tensor, weight: Tensor, geometry: Sequence[int]) -> bool:
    """Whether Winograd's algorithm takes less time than the direct one."""
    channels = min(weight.shape[:2])
    enough = channels >= CHANNELS and winograd.count_tiles(x) >= TILES_PER_CHANNEL * channels
    return enough and winograd.applies(weight, geometry)


def _scale(weight: Tensor, gain: Tensor | None) -> Tensor:
    return weight if gain is None else weight * gain.view(-1, 1, 1, 1)


# Result and gradients are an operator each, so that a compiled program calls them as they are.


def _compute(
    x: Tensor, weight: Tensor, gain: Tensor | None, bias: Tensor | None, geometry: Sequence[int]
) -> Tensor:  # [N, O, h, w]
    if _pays(x, weight, geometry):
        return winograd.convolve(x, winograd.transform_weight(_scale(weight, gain)), bias)
    return _direct(x, weight, gain, bias, geometry)


_conv2d = torch.library.custom_op("centernet2::conv2d", _compute, mutates_args=())


@torch.library.custom_op("centernet2::conv2d_input_gradient", mutates_args=())
def _input_gradient(
    grad: Tensor, x: Tensor, weight: Tensor, gain: Tensor | None, geometry: Sequence[int]
) -> Tensor:
    scaled = _scale(weight, gain)
    if _pays(x, weight, geometry):
        return winograd.input_gradient(grad, scaled)
    return _direct_gradients(grad, x, scaled, geometry, [True, False, False])[0]


@torch.library.custom_op("centernet2::conv2d_weight_gradient", mutates_args=())
def _weight_gradient(
    grad: Tensor, x: Tensor, weight: Tensor, gain: Tensor | None, geometry: Sequence[int]
) -> Tensor:
    # without AVX-512 oneDNN sums them at a fifth of its usual speed where the channels of a pixel lie together
    is_slow = torch.backends.cpu.get_cpu_capability() == "AVX2" and winograd.count_tiles(x) >= TILES
    if _pays(x, weight, geometry) or (is_slow and winograd.applies(weight, geometry)):
        return _scale(winograd.weight_gradient(x, grad), gain)
    if weight.shape[2:] == (1, 1) and geometry == POINTWISE:
        pixels, grads = (
            t.permute(0, 2, 3, 1).flatten(0, 2) for t in (x, grad)
        )  # a product, which is faster so
        return _scale((grads.t() @ pixels).view_as(weight), gain)
    return _scale(_direct_gradients(grad, x, weight, geometry, [False, True, False])[1], gain)


def _direct(
    x: Tensor, weight: Tensor, gain: Tensor | None, bias: Tensor | None, geometry: Sequence[int]
) -> Tensor:  # [N, O, h, w]
    stride, padding, dilation, groups = _parts(geometry)
    return F.conv2d(x, _scale(weight, gain), bias, stride, padding, dilation, groups)


def _direct_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, geometry: Sequence[int], mask: list[bool]
) -> Sequence[Tensor]:
    stride, padding, dilation, groups = _parts(geometry)
    gradients: Sequence[Tensor] = torch.ops.aten.convolution_backward(
        grad, x, weight, None, stride, padding, dilation, False, [0, 0], groups, mask
    )
    return gradients


def _parts(geometry: Sequence[int]) -> tuple[list[int], list[int], list[int], int]:
    return list(geometry[:2]), list(geometry[2:4]), list(geometry[4:6]), geometry[6]


@_conv2d.register_fake
def _(
    x: Tensor, weight: Tensor, gain: Tensor | None, bias: Tensor | None, geometry: Sequence[int]
) -> Tensor:
    return _direct(x, weight, gain, bias, geometry)


@_input_gradient.register_fake
def _(grad: Tensor, x: Tensor, *rest: Any) -> Tensor:
    return torch.empty_like(x)


@_weight_gradient.register_fake
def _(grad: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
    return torch.empty_like(weight)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, gain, _, ctx.geometry = inputs
    ctx.save_for_backward(x, weight, gain)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, gain = ctx.saved_tensors
    for_x, for_weight, _, for_bias, _ = ctx.needs_input_grad
    grad = grad.contiguous(memory_format=torch.channels_last)
    return (
        _input_gradient(grad, x, weight, gain, ctx.geometry) if for_x else None,
        _weight_gradient(grad, x, weight, gain, ctx.geometry) if for_weight else None,
        None,
        grad.sum((0, 2, 3)) if for_bias else None,
        None,
    )


_conv2d.register_autograd(_gradients, setup_context=_keep)
