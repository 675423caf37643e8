"""Convolution on the CPU by the fastest algorithm, with little saved for backward."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from centernet2.kernels import winograd
from centernet2.kernels.opaque_operators import Backward, opaque_operator
from centernet2.ops.tensors import product_dtype

# minimum sizes for which Winograd's transforms cost less time than they save
MIN_CHANNELS, TILES_PER_CHANNEL = 256, 0.5
MIN_GRADIENT_TILES = 64  # for the weight gradient, where the direct algorithm is slow
POINTWISE = [1, 1, 0, 0, 1, 1, 1]  # geometry of a 1 x 1 convolution of stride 1


def conv2d_cpu(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Sequence[int],
    gain: Tensor | None,
) -> Tensor:
    """Kernel of `operators.conv2d` that does not save weight * gain for backward.

    Large 3 x 3 convolutions run by Winograd's algorithm, whose results differ from those of the
    direct algorithm by about 1e-5 of their standard deviation. Contiguous tensors and lower
    precision use the direct algorithm.
    """
    with_graph = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    if not _suits(x) or not (with_graph or _pays(x, weight, geometry)):
        return conv2d_torch(x, weight, bias, geometry, gain)
    chosen = _conv2d if with_graph or torch.compiler.is_compiling() else _compute
    return chosen(x, weight, gain, bias, geometry)


def conv2d_torch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Sequence[int],
    gain: Tensor | None,
) -> Tensor:
    """Kernel of `operators.conv2d` by PyTorch."""
    stride, padding, dilation, groups = _parts(geometry)
    return F.conv2d(x, _scale(weight, gain), bias, stride, padding, dilation, groups)


def _suits(x: Tensor) -> bool:
    is_last = x.is_contiguous(memory_format=torch.channels_last)
    return is_last and product_dtype(x) == torch.float32


def _pays(x: Tensor, weight: Tensor, geometry: Sequence[int]) -> bool:
    """Whether Winograd's algorithm is faster than the direct one."""
    channels = min(weight.shape[:2])
    enough = channels >= MIN_CHANNELS and winograd.count_tiles(x) >= TILES_PER_CHANNEL * channels
    return enough and winograd.applies(weight, geometry)


def _scale(weight: Tensor, gain: Tensor | None) -> Tensor:
    return weight if gain is None else weight * gain.view(-1, 1, 1, 1)


# Output and gradients are operators of their own, so that compiled programs call them unchanged.


def _compute(
    x: Tensor, weight: Tensor, gain: Tensor | None, bias: Tensor | None, geometry: Sequence[int]
) -> Tensor:  # [N, O, h, w]
    if _pays(x, weight, geometry):
        return winograd.convolve(x, winograd.transform_weight(_scale(weight, gain)), bias)
    return conv2d_torch(x, weight, bias, geometry, gain)


def _compute_input_gradient(
    grad: Tensor, x: Tensor, weight: Tensor, gain: Tensor | None, geometry: Sequence[int]
) -> Tensor:
    scaled = _scale(weight, gain)
    if _pays(x, weight, geometry):
        return winograd.input_gradient(grad, scaled)
    return _direct_gradients(grad, x, scaled, geometry, [True, False, False])[0]


def _compute_weight_gradient(
    grad: Tensor, x: Tensor, weight: Tensor, gain: Tensor | None, geometry: Sequence[int]
) -> Tensor:
    # without AVX-512, oneDNN sums channels_last gradients at a fifth of its usual speed
    is_slow = torch.backends.cpu.get_cpu_capability() == "AVX2"
    is_slow = is_slow and winograd.count_tiles(x) >= MIN_GRADIENT_TILES
    if _pays(x, weight, geometry) or (is_slow and winograd.applies(weight, geometry)):
        return _scale(winograd.weight_gradient(x, grad), gain)
    if weight.shape[2:] == (1, 1) and geometry == POINTWISE:
        # faster as a matrix product
        pixels, grads = (t.permute(0, 2, 3, 1).flatten(0, 2) for t in (x, grad))
        return _scale((grads.t() @ pixels).view_as(weight), gain)
    return _scale(_direct_gradients(grad, x, weight, geometry, [False, True, False])[1], gain)


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


def _shape(
    x: Tensor, weight: Tensor, gain: Tensor | None, bias: Tensor | None, geometry: Sequence[int]
) -> Tensor:
    return conv2d_torch(x, weight, bias, geometry, gain)


def _shape_of_input(grad: Tensor, x: Tensor, *rest: Any) -> Tensor:
    return torch.empty_like(x)


def _shape_of_weight(grad: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
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


_conv2d = opaque_operator("conv2d", _compute, _shape, Backward(_keep, _gradients))
_input_gradient = opaque_operator("conv2d_input_gradient", _compute_input_gradient, _shape_of_input)
_weight_gradient = opaque_operator(
    "conv2d_weight_gradient", _compute_weight_gradient, _shape_of_weight
)
