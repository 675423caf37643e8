"""SAME padding of fixed sizes equals timm's."""

import copy

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from centernet2.layers import (
    find_norm_pairs,
    fix_same_padding,
    fuse_frozen_norms,
    fuse_into_weights,
)
from centernet2.layers.fused_norm import FusedConv2d
from centernet2.models.backbones import Backbone
from centernet2.models.modes import evaluation_mode


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


def test_frozen_norms_behind_it_are_fused_with_their_activation() -> None:
    torch.manual_seed(0)
    options = {
        "name": "tf_mobilenetv3_small_minimal_100",
        "out_features": ("res3",),
        "freeze_at": 2,
    }
    plain = Backbone(**options, norm="FrozenBN")
    for name, value in plain.body.named_buffers():
        value.copy_(torch.rand_like(value) + (0.5 if name.endswith("var") else 0))
    fused = copy.deepcopy(plain)
    with evaluation_mode(fused.body):
        pairs = find_norm_pairs(fused.body, torch.zeros(1, 3, 64, 64))
    fuse_frozen_norms(fused.body, pairs)
    convs = [layer for layer in fused.modules() if isinstance(layer, FusedConv2d)]
    assert len(convs) == len([m for m in plain.modules() if isinstance(m, nn.Conv2d)])
    assert fused.state_dict().keys() == plain.state_dict().keys()
    image = torch.randn(1, 3, 64, 96)
    features = [network(image)["res3"] for network in (fused, plain)]
    torch.testing.assert_close(*features, rtol=1e-4, atol=1e-4)
    for x in features:
        x.square().mean().backward()
    for ours, theirs in zip(fused.parameters(), plain.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)
    inference = copy.deepcopy(fused).eval()
    fuse_into_weights(inference.body, [])
    assert not any(isinstance(layer, FusedConv2d) for layer in inference.modules())
    torch.testing.assert_close(inference(image)["res3"], features[0], rtol=1e-4, atol=1e-4)
