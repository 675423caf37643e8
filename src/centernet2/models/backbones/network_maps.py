"""The feature maps of a network, described as timm does, and its random weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class NetworkMaps:
    """Names of modules, channels and strides of all feature maps, finest first."""

    modules: Sequence[str]
    all_channels: Sequence[int]
    all_strides: Sequence[int]
    out_indices: Sequence[int]  # those that the network returns

    def channels(self) -> list[int]:
        return [self.all_channels[i] for i in self.out_indices]

    def reduction(self) -> list[int]:
        """Return the strides."""
        return [self.all_strides[i] for i in self.out_indices]

    def module_name(self, index: int) -> str:
        return self.modules[index]


def init_by_fan_out(network: nn.Module, *, by_group: bool) -> None:
    """Draw the weights of convolutions for ReLU (arXiv 1502.01852, section 2.2).

    On the meta device there is nothing to draw.

    Args:
        by_group: whether only the outputs of a group count.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.is_meta:
            groups = layer.groups if by_group else 1
            fan_out = math.prod(layer.kernel_size) * layer.out_channels // groups
            nn.init.normal_(layer.weight, std=math.sqrt(2 / fan_out))
