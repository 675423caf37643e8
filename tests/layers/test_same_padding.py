"""SAME padding of fixed sizes equals timm's."""

import copy

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from centernet2.layers import fix_same_padding


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("dilation", [1, 2])
def test_padding_equals_that_of_timm(kernel: int, dilation: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        Conv2dSame(4, 8, kernel, stride=2, bias=False),
        nn.Sequential(Conv2dSame(8, 8, kernel, stride=(2, 1), groups=8, dilation=dilation)),
    )
    fixed = fix_same_padding(copy.deepcopy(network))
    assert not any(isinstance(layer, Conv2dSame) for layer in fixed.modules())
    x = torch.randn(2, 4, 16, 24)
    assert torch.equal(fixed(x), network(x))
    assert fixed.state_dict().keys() == network.state_dict().keys()
