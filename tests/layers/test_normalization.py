"""Normalisation layers by name."""

import torch
from torch import nn

from centernet2.layers.normalization import make_norm


def test_layer_normalisation_is_over_the_channels_of_each_location() -> None:
    x = torch.randn(2, 5, 3, 4) * 3 + 1
    normalised = make_norm("LN", 5)(x)
    torch.testing.assert_close(normalised.mean(dim=1), torch.zeros(2, 3, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        normalised.var(dim=1, unbiased=False), torch.ones(2, 3, 4), atol=1e-3, rtol=0
    )


def test_groups_of_channels_that_32_does_not_divide() -> None:
    layers = [make_norm("GN", channels) for channels in (64, 50, 12)]
    assert [layer.num_groups for layer in layers if isinstance(layer, nn.GroupNorm)] == [32, 25, 12]
