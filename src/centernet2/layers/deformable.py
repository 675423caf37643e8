"""Deformable convolution (arXiv 1703.06211), also modulated (arXiv 1811.11168)."""

import math
from typing import Any, cast

from torch import Tensor, nn

from centernet2.kernels import deformable_conv2d


class DeformConv2d(nn.Module):
    """A convolution that samples its input at learned offsets from the regular grid.

    Before training, offsets and mask logits are zero.

    Args:
        conv: ordinary convolution, which provides weights and geometry.
        modulated: also learn a factor in 0..1 for each sample (DCNv2).
        offset_groups: groups of input channels that share offsets.
        offset_bias: whether the convolution that predicts the offsets has a bias.
    """

    def __init__(
        self, conv: nn.Conv2d, *, modulated: bool, offset_groups: int, offset_bias: bool
    ) -> None:
        super().__init__()
        self.num_offsets = 2 * math.prod(conv.kernel_size) * offset_groups  # (dy, dx) of samples
        num_predictions = self.num_offsets * 3 // 2 if modulated else self.num_offsets
        geometry: dict[str, Any] = {
            k: getattr(conv, k) for k in ("kernel_size", "stride", "padding", "dilation")
        }
        self.offset = nn.Conv2d(conv.in_channels, num_predictions, **geometry, bias=offset_bias)
        for parameter in self.offset.parameters():
            nn.init.zeros_(parameter)
        self.conv = conv
        self.modulated = modulated

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W]
        conv = self.conv
        # sampling positions need full precision under autocast
        prediction = self.offset(x).to(conv.weight.dtype)
        return deformable_conv2d(
            x,
            prediction[:, : self.num_offsets],
            conv.weight,
            conv.bias,
            stride=conv.stride,
            padding=cast(tuple[int, ...], conv.padding),
            dilation=conv.dilation,
            mask=prediction[:, self.num_offsets :].sigmoid() if self.modulated else None,
        )
