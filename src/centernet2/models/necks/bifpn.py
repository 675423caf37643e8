"""Bidirectional feature pyramids (EfficientDet, arXiv 1911.09070)."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import lcm

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from centernet2.layers import Conv2d, make_norm


@dataclass(frozen=True)
class BiFPNOptions:
    """Bidirectional feature pyramid (arXiv 1911.09070)."""

    num_levels: int = 5  # levels beyond the backbone's are pooled from its last feature map
    num_bifpn: int = 6  # number of cells, each a top-down and a bottom-up pass
    norm: str = "GN"  # after each convolution, "" for none
    out_channels: int = 160
    separable_conv: bool = False  # depthwise separable convolutions after each fusion
    size_divisibility: int = 128  # of images, whatever the coarsest level, as in the reference


class BiFPN(nn.Module):
    """Weighted top-down and bottom-up fusion of a pyramid, repeated (section 3).

    The last two arguments select one of two variants of the published weights.

    Args:
        in_channels: channels of the backbone's feature maps, by name.
        in_features: the feature maps to use, finest first, strides doubling: ("res3", "res4",
            "res5") give p3, p4, p5.
        options: size and layers of the pyramid.
        pool_kernel: kernel size of the max pooling between levels.
        shared_laterals: the top-down and bottom-up nodes of a level share one 1x1 convolution, with
            a bias, of the backbone's feature map; otherwise each node has its own.
    """

    def __init__(
        self,
        in_channels: Mapping[str, int],
        in_features: Sequence[str],
        options: BiFPNOptions = BiFPNOptions(),
        *,
        pool_kernel: int = 2,
        shared_laterals: bool = False,
    ) -> None:
        super().__init__()
        if options.num_levels < len(in_features):
            raise ValueError(
                f"num_levels is {options.num_levels}, but there are {len(in_features)} feature maps"
            )
        norm, out_channels = options.norm, options.out_channels
        self.in_features = list(in_features)
        self.num_extra = options.num_levels - len(in_features)
        self.pool_kernel = pool_kernel
        channels = [in_channels[name] for name in in_features]
        if self.num_extra:
            self.reduce = _conv_norm(channels[-1], out_channels, 1, norm=norm, bias=norm == "")
            channels += [out_channels] * self.num_extra
        self.cells = nn.Sequential()
        for _ in range(options.num_bifpn):
            cell = BiFPNCell(
                in_channels=channels,
                out_channels=out_channels,
                norm=norm,
                separable_conv=options.separable_conv,
                pool_kernel=pool_kernel,
                shared_laterals=shared_laterals,
            )
            self.cells.append(cell)
            channels = [out_channels] * options.num_levels
        finest = int(in_features[0][-1])
        levels = range(finest, finest + options.num_levels)
        self.channels = {f"p{level}": out_channels for level in levels}
        self.strides = {f"p{level}": 2**level for level in levels}
        # each map is then exactly twice as large as the next
        self.size_divisibility = lcm(options.size_divisibility, max(self.strides.values()))

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the pyramid {"p3": [N, out_channels, H / 8, W / 8], ...}."""
        maps = [features[name] for name in self.in_features]
        for i in range(self.num_extra):
            maps.append(_halve(self.reduce(maps[-1]) if i == 0 else maps[-1], self.pool_kernel))
        return dict(zip(self.channels, self.cells(maps), strict=True))


class BiFPNCell(nn.Module):
    """One top-down and one bottom-up pass over the levels (figure 2d of the paper)."""

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        out_channels: int,
        norm: str,
        separable_conv: bool,
        pool_kernel: int,
        shared_laterals: bool,
    ) -> None:
        super().__init__()
        self.graph = fusion_graph(len(in_channels))
        self.levels = [*range(len(in_channels)), *(level for level, _ in self.graph)]  # of each map
        self.pool_kernel = pool_kernel
        self.shared_laterals = shared_laterals
        self.laterals = nn.ModuleDict()
        self.nodes = nn.ModuleDict()
        for level, inputs in self.graph:
            self.nodes[_node_name(level, inputs)] = FusionNode(
                len(inputs), out_channels, norm=norm, separable_conv=separable_conv
            )
            for source in inputs:
                if source < len(in_channels) and in_channels[source] != out_channels:
                    bias = shared_laterals or norm == ""
                    lateral = _conv_norm(in_channels[source], out_channels, 1, norm=norm, bias=bias)
                    self.laterals[self._lateral_name(source, level, inputs)] = lateral

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Fuse one feature map per level, finest first."""
        maps = list(inputs)
        for (level, sources), node in zip(self.graph, self.nodes.values(), strict=True):
            maps.append(
                node([self._bring(maps[source], source, level, sources) for source in sources])
            )
        latest = dict(zip(self.levels, maps, strict=True))  # the last map of each level
        return list(latest.values())

    def _bring(self, x: Tensor, source: int, level: int, sources: Sequence[int]) -> Tensor:
        """Bring map number `source` to the channels and the size of the node's level."""
        lateral = self._lateral_name(source, level, sources)
        x = self.laterals[lateral](x) if lateral in self.laterals else x
        if self.levels[source] > level:
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        return _halve(x, self.pool_kernel) if self.levels[source] < level else x

    def _lateral_name(self, source: int, level: int, sources: Sequence[int]) -> str:
        return (
            f"{source}_to_{level}"
            if self.shared_laterals
            else f"{source}_to_{_node_name(level, sources)}"
        )


class FusionNode(nn.Module):
    """Fast normalized fusion (section 3.3), an activation and a convolution."""

    def __init__(self, num_inputs: int, channels: int, *, norm: str, separable_conv: bool) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(num_inputs))
        self.conv = _conv_norm(
            channels, channels, 3, norm=norm, bias=norm == "", separable=separable_conv
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:  # each [N, C, H, W]
        weights = F.relu(self.weights)
        weights = weights / (weights.sum() + 1e-4)
        fused = sum(
            (w * x for w, x in zip(weights[1:], inputs[1:], strict=True)),
            start=weights[0] * inputs[0],
        )
        return self.conv(F.silu(fused))  # type: ignore[no-any-return]


def fusion_graph(num_levels: int) -> list[tuple[int, tuple[int, ...]]]:
    """Return the nodes of a cell in order: (level, numbers of the maps to fuse).

    Maps are numbered consecutively: inputs of the cell, finest first, then outputs of the nodes.
    """
    newest = list(range(num_levels))  # number of each level's latest map
    nodes: list[tuple[int, tuple[int, ...]]] = []
    top_down = [(level, level + 1) for level in reversed(range(num_levels - 1))]
    bottom_up = [(level, level - 1) for level in range(1, num_levels)]
    for level, neighbor in top_down + bottom_up:
        nodes.append((level, tuple(dict.fromkeys((level, newest[level], newest[neighbor])))))
        newest[level] = num_levels + len(nodes) - 1
    return nodes


def _node_name(level: int, sources: Sequence[int]) -> str:
    return "_".join(map(str, (level, *sources)))


def _halve(x: Tensor, kernel: int) -> Tensor:
    return F.max_pool2d(x, kernel, stride=2, padding=(kernel - 1) // 2)


def _conv_norm(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    norm: str,
    bias: bool,
    separable: bool = False,
) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if separable:
        layers["depthwise"] = nn.Conv2d(
            in_channels,
            in_channels,
            kernel_size,
            padding=kernel_size // 2,
            groups=in_channels,
            bias=False,
        )
        layers["pointwise"] = nn.Conv2d(in_channels, out_channels, 1, bias=bias)
    else:
        layers["conv"] = Conv2d(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias
        )
    layers["norm"] = make_norm(norm, out_channels)
    return nn.Sequential(layers)
