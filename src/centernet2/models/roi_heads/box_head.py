"""The network of a box head (arXiv 1612.03144, section 4.2)."""

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from centernet2.layers import conv_norm, init_xavier


@dataclass(frozen=True)
class BoxHeadOptions:
    """Network of a box head."""

    num_conv: int = 0  # 3x3 convolutions
    conv_dim: int = 256  # their channels
    norm: str = ""  # their normalization
    num_fc: int = 0  # fully connected layers
    fc_dim: int = 1024  # their width


class BoxHead(nn.Sequential):
    """Convolutions, then fully connected layers, each followed by a ReLU.

    It maps [R, in_channels, size, size] to [R, out_channels].

    Args:
        in_channels, size: channels and side of the pooled features.
        options: number and width of the layers.
    """

    def __init__(
        self, in_channels: int, size: int, options: BoxHeadOptions = BoxHeadOptions()
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for k in range(1, options.num_conv + 1):
            layers[f"conv{k}"] = conv_norm(in_channels, options.conv_dim, 3, norm=options.norm)
            layers[f"conv_relu{k}"] = nn.ReLU()
            in_channels = options.conv_dim
        layers["flatten"] = nn.Flatten()
        width = in_channels * size * size
        for k in range(1, options.num_fc + 1):
            fc = nn.Linear(width, options.fc_dim)
            init_xavier(fc)
            layers[f"fc{k}"] = fc
            layers[f"fc_relu{k}"] = nn.ReLU()
            width = options.fc_dim
        super().__init__(layers)
        self.out_channels = width
