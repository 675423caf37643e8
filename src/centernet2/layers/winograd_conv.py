"""3 x 3 convolutions for inference, with weights transformed for Winograd."""

from typing import cast

import torch
from torch import Tensor, nn

from centernet2.kernels import winograd
from centernet2.kernels.dispatch import choose
from centernet2.kernels.opaque_operators import opaque_operator
from centernet2.layers.convolution import Conv2d

MIN_INFERENCE_CHANNELS = 128  # with fewer, transforming feature maps costs more than it saves


class WinogradConv2d(nn.Module):
    """A 3 x 3 convolution with transformed weights [36, C, O], four times as large."""

    def __init__(self, conv: Conv2d) -> None:
        super().__init__()
        matrices = winograd.transform_weight(conv.weight.detach()).contiguous()
        self.matrices = nn.Parameter(matrices, requires_grad=False)
        self.bias = conv.bias

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W]
        # copies only in compiled programs, whose tracer assumes contiguous outputs of normalization
        x = x.contiguous(memory_format=torch.channels_last)
        return _convolve(x, self.matrices, self.bias)


def transform_convolutions(network: nn.Module) -> None:
    """Replace large 3 x 3 convolutions of a network, in place, if Winograd runs there.

    Each one is freed before the next is transformed.
    """
    chosen = [
        (owner, name)
        for owner in network.modules()
        for name, layer in owner.named_children()
        if isinstance(layer, Conv2d) and _suits(layer)
    ]
    for owner, name in chosen:
        setattr(owner, name, WinogradConv2d(cast(Conv2d, owner.get_submodule(name))))


def _suits(layer: Conv2d) -> bool:
    weight = layer.weight
    is_large = min(weight.shape[:2]) >= MIN_INFERENCE_CHANNELS
    is_chosen = choose("conv2d", weight.device.type, "eager") == "winograd"
    return is_large and is_chosen and winograd.applies(weight, layer.geometry)


def _shape_of_result(x: Tensor, matrices: Tensor, bias: Tensor | None) -> Tensor:
    shape = (x.shape[0], matrices.shape[2], *x.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


_convolve = opaque_operator("winograd_conv2d", winograd.convolve, _shape_of_result)
