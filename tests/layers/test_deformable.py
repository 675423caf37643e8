"""Deformable convolution against the ordinary one, where the two must agree."""

import pytest
import torch
from torch import nn

from centernet2.layers import DeformConv2d


def conv3x3(groups: int = 1, **options: int) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(4, 6, 3, padding=options.get("dilation", 1), groups=groups, **options)


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"dilation": 2}, {"groups": 2}])
def test_starts_as_a_plain_convolution(options: dict[str, int]) -> None:
    conv, x = conv3x3(**options), torch.randn(2, 4, 9, 11)
    plain = DeformConv2d(conv, modulated=False, offset_groups=1, offset_bias=True)
    torch.testing.assert_close(plain(x), conv(x))
    modulated = DeformConv2d(conv, modulated=True, offset_groups=1, offset_bias=True)
    bias = conv.bias[:, None, None]
    # the sigmoid of zero is one half
    torch.testing.assert_close(modulated(x) - bias, 0.5 * (conv(x) - bias))


def test_offsets_are_ordered_dy_dx() -> None:
    conv, x = conv3x3(), torch.randn(1, 4, 9, 11)
    deformable = DeformConv2d(conv, modulated=False, offset_groups=1, offset_bias=True)
    with torch.no_grad():
        deformable.offset.bias.view(9, 2).copy_(torch.tensor([2.0, 1.0]))
    out, expected = deformable(x), conv(x.roll((-2, -1), (2, 3)))
    torch.testing.assert_close(out[..., 1:-3, 1:-2], expected[..., 1:-3, 1:-2])


def test_mask_weighs_the_samples() -> None:
    conv, x = conv3x3(), torch.randn(1, 4, 9, 11)
    deformable = DeformConv2d(conv, modulated=True, offset_groups=1, offset_bias=True)
    with torch.no_grad():
        deformable.offset.bias[18:] = -100.0
        deformable.offset.bias[18 + 4] = 100.0  # the center alone counts
        conv.weight[..., [0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2]] += 7.0
    center = nn.functional.conv2d(x, conv.weight[..., 1:2, 1:2], conv.bias)
    torch.testing.assert_close(deformable(x), center)


def test_groups_have_offsets_of_their_own() -> None:
    conv = conv3x3()
    assert DeformConv2d(
        conv, modulated=True, offset_groups=2, offset_bias=False
    ).offset.weight.shape == (54, 4, 3, 3)
    assert DeformConv2d(
        conv, modulated=False, offset_groups=2, offset_bias=False
    ).offset.weight.shape == (36, 4, 3, 3)


@pytest.mark.parametrize("modulated", [False, True])
def test_gradients(modulated: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 2, 3, padding=1)
    layer = DeformConv2d(conv, modulated=modulated, offset_groups=1, offset_bias=True).double()
    nn.init.normal_(layer.offset.weight, std=0.1)
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)
    layer(x).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())


@pytest.mark.parametrize("bias", [False, True])
def test_under_autocast(bias: bool) -> None:
    torch.manual_seed(0)
    layer = DeformConv2d(
        nn.Conv2d(4, 4, 3, padding=1, bias=bias), modulated=True, offset_groups=1, offset_bias=True
    )
    x = torch.randn(1, 4, 8, 8).bfloat16().float().requires_grad_()
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = layer(x)
    assert actual.dtype == torch.bfloat16  # like any convolution
    assert torch.allclose(actual.float(), expected, atol=0.02)
    [exact] = torch.autograd.grad(expected.sum(), x)
    [gradient] = torch.autograd.grad(actual.sum(), x)
    assert gradient.dtype == torch.float32
    assert torch.allclose(gradient, exact, atol=0.02)
