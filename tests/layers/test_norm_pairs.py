"""Normalizations to fuse are known by what a network computes, not by names."""

from typing import Any

import torch
from torch import Tensor, nn

from centernet2.layers.frozen_norm import FrozenBatchNorm2d
from centernet2.layers.fused_norm import fuse_into_weights
from centernet2.layers.norm_pairs import find_norm_pairs, sequential_pairs


class Block(nn.Module):
    """Four pairs of convolution and normalization; only the first may be fused."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs = nn.ModuleDict(
            {
                name: nn.ModuleList([nn.Conv2d(3, 3, 1), FrozenBatchNorm2d(3)])
                for name in ("alone", "used_twice", "shifted", "called_twice")
            }
        )
        self.unused = FrozenBatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        (conv, norm), (twice, twice_norm), (shifted, shifted_norm), (again, again_norm) = (
            list(pair)  # type: ignore[call-overload]
            for pair in self.pairs.values()
        )
        x = norm(conv(x))
        y = twice(x)
        x = twice_norm(y) + y
        x = shifted_norm(shifted(x) + 1)
        return again_norm(again(x)) + again(x).relu()


def test_pairs_follow_the_computation() -> None:
    block = Block().train()
    pairs = find_norm_pairs(block, torch.rand(1, 3, 8, 8))
    alone: Any = block.pairs["alone"]
    assert [(pair.conv, pair.norm) for pair in pairs] == [tuple(alone)]
    assert block.training and not block._forward_hooks


def test_shared_pairs_are_fused_once() -> None:
    conv, norm = nn.Conv2d(3, 3, 1), FrozenBatchNorm2d(3)
    norm.weight.uniform_(0.5, 1.5)
    shared = nn.Sequential(conv, norm, nn.ReLU())
    network = nn.Sequential(shared, nn.Conv2d(3, 3, 1), shared)
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        expected = network(x)
        pairs = find_norm_pairs(network, x)
        assert pairs == [(conv, norm)] and sequential_pairs(network) == pairs
        assert len(fuse_into_weights(network, pairs)) == 1
        torch.testing.assert_close(network(x), expected)


def test_networks_without_frozen_norms_are_not_run() -> None:
    class Refuses(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError

    assert find_norm_pairs(Refuses(), torch.rand(1, 3, 8, 8)) == []
