"""Normalization layers by name."""

import torch
from torch import nn

from centernet2.layers.normalization import make_norm


def test_layer_norm_is_over_channels() -> None:
    x = torch.randn(2, 5, 3, 4) * 3 + 1
    normalized = make_norm("LN", 5)(x)
    torch.testing.assert_close(normalized.mean(dim=1), torch.zeros(2, 3, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        normalized.var(dim=1, unbiased=False), torch.ones(2, 3, 4), atol=1e-3, rtol=0
    )


def test_group_norm_with_indivisible_channels() -> None:
    layers = [make_norm("GN", channels) for channels in (64, 50, 12)]
    assert [layer.num_groups for layer in layers if isinstance(layer, nn.GroupNorm)] == [32, 25, 12]
