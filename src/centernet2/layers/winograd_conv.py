"""Convolutions of a network that is not trained any more, with weights as Winograd's algorithm takes them."""

import torch
from torch import Tensor, nn

from centernet2.kernels import winograd
from centernet2.kernels.dispatch import choose
from centernet2.layers.convolution import Conv2d

MIN_INFERENCE_CHANNELS = 128  # below it, transforming feature maps costs more than it saves


class WinogradConv2d(nn.Module):
    """What a 3 x 3 convolution computes. Its weights [36, C, O] take four times the memory of the convolution's."""

    def __init__(self, conv: Conv2d) -> None:
        super().__init__()
        matrices = winograd.transform_weight(conv.weight.detach()).contiguous()
        self.matrices = nn.Parameter(matrices, requires_grad=False)
        self.bias = conv.bias

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W]
        x = x.contiguous(
            memory_format=torch.channels_last
        )  # so they lie, but for the compiler's view of normalisation
        result: Tensor = _convolve(x, self.matrices, self.bias)
        return result


def transform_convolutions(network: nn.Module) -> None:
    """Replaces the large 3 x 3 convolutions of a network, in place."""
    for owner in list(network.modules()):
        for name, layer in owner.named_children():
            if isinstance(layer, Conv2d) and _suits(layer):
                setattr(owner, name, WinogradConv2d(layer))


def _suits(layer: Conv2d) -> bool:
    weight = layer.weight
    if choose("conv2d", weight.device.type, "eager") != "winograd":
        return False
    return min(layer.weight.shape[:2]) >= MIN_INFERENCE_CHANNELS and winograd.applies(
        layer.weight, layer.geometry
    )


# one operator, so that a compiled program calls it as it is
@torch.library.custom_op("centernet2::winograd_conv2d", mutates_args=())
def _convolve(x: Tensor, matrices: Tensor, bias: Tensor | None) -> Tensor:
    return winograd.convolve(x, matrices, bias)


@_convolve.register_fake
def _(x: Tensor, matrices: Tensor, bias: Tensor | None) -> Tensor:
    shape = (x.shape[0], matrices.shape[2], *x.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
