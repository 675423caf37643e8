"""Winograd convolutions against the layers that they replace."""

import pytest
import torch
from torch import nn

from centernet2.layers import Conv2d, DeformConv2d, winograd_conv


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_equals_the_convolution(bias: bool, memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    conv = Conv2d(6, 5, 3, padding=1, bias=bias).to(memory_format=memory_format)
    x = torch.randn(2, 6, 13, 10).to(memory_format=memory_format)
    layer = winograd_conv.WinogradConv2d(conv)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), conv(x), rtol=1e-4, atol=1e-4)
        torch.library.opcheck(
            winograd_conv._convolve, (x, layer.matrices, layer.bias), rtol=1e-3, atol=1e-3
        )


def test_only_large_convolutions_are_replaced() -> None:
    wide = winograd_conv.MIN_INFERENCE_CHANNELS
    network = nn.Sequential(
        Conv2d(wide, 2 * wide, 3, padding=1),
        Conv2d(wide, wide, 3, padding=1, stride=2),
        Conv2d(wide, wide, 1),
        Conv2d(wide, wide, 3, padding=1, groups=2),
        Conv2d(wide // 2, wide, 3, padding=1),
        DeformConv2d(
            nn.Conv2d(wide, wide, 3, padding=1), modulated=True, offset_groups=1, offset_bias=True
        ),
        nn.Sequential(Conv2d(wide, wide, 3, padding=1), nn.ReLU()),
    )
    winograd_conv.transform_convolutions(network)
    replaced = [
        name
        for name, layer in network.named_modules()
        if isinstance(layer, winograd_conv.WinogradConv2d)
    ]
    assert replaced == ["0", "6.0"]
