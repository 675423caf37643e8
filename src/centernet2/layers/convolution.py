"""Convolutions, with the initialization and normalization of the detector's parts."""

from typing import cast

import torch
from torch import Tensor, nn

from centernet2.kernels import conv2d
from centernet2.layers.normalization import make_norm


class Conv2d(nn.Conv2d):
    """PyTorch's layer with zero padding, run by the kernel from `kernels/dispatch.py`."""

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W]
        return conv2d(x, self.weight, self.bias, self.geometry)

    @property
    def geometry(self) -> list[int]:
        """Stride, padding and dilation, two numbers each, and groups."""
        return [*self.stride, *cast(tuple[int, ...], self.padding), *self.dilation, self.groups]


def conv_norm(
    in_channels: int, out_channels: int, kernel_size: int, *, norm: str, stride: int = 1
) -> nn.Module:
    """Make a padded convolution with a bias or, if `norm` is given, a norm layer."""
    conv = Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=norm == "")
    init_xavier(conv)
    return conv if norm == "" else nn.Sequential(conv, make_norm(norm, out_channels))


def init_xavier(layer: nn.Conv2d | nn.Linear) -> None:
    """Initialize as Caffe2's XavierFill: uniform with variance 1 / fan_in, zero bias."""
    nn.init.kaiming_uniform_(layer.weight, a=1)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def init_he(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Initialize as Caffe2's MSRAFill: normal with variance 2 / fan_out, zero bias.

    arXiv 1502.01852.
    """
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def init_normal(layer: nn.Conv2d | nn.Linear, *, std: float, bias: float = 0.0) -> None:
    """Initialize with normal weights of mean 0 and a constant bias."""
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias)


class ScaleGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a constant."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor, scale: float
    ) -> torch.Tensor:
        ctx.scale = scale  # type: ignore[attr-defined]
        return x.view_as(x)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grads: torch.Tensor
    ) -> tuple[torch.Tensor, None]:
        return grads[0] * ctx.scale, None  # type: ignore[attr-defined]
