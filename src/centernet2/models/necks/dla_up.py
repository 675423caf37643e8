"""Iterative deep aggregation, the decoder of DLA (arXiv 1707.06484, section 3.1)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from centernet2.layers import DeformConv2d, make_norm


@dataclass(frozen=True)
class DLAUpOptions:
    """DLA-up: iterative deep aggregation of the feature maps of DLA."""

    in_features: tuple[str, ...] = ("dla3", "dla4", "dla5")
    node: str = "conv"
    ms_output: bool = False  # return all levels, not the finest alone


class DLAUp(nn.Module):
    """Aggregation from coarse to fine: each level receives all coarser ones.

    Args:
        in_channels: channels of the backbone's feature maps, by name.
        in_features: the feature maps to use, finest first, strides doubling: ("dla2", "dla3", ...).
        norm: normalization layer.
        node: "dcn" aggregates by deformable 3x3 convolutions, "conv" by 1x1 convolutions.
        single_level: aggregate all levels but the coarsest once more and return only the finest.
        prefix: first part of the names of the levels: with "dla", stride 4 is called dla2.
    """

    size_divisibility = 32

    def __init__(
        self,
        in_channels: Mapping[str, int],
        in_features: Sequence[str],
        *,
        norm: str = "BN",
        node: str = "conv",
        single_level: bool = False,
        prefix: str = "dlaup",
    ) -> None:
        super().__init__()
        if node not in CONVOLUTIONS:
            raise ValueError(f"node is '{node}'; choose {' or '.join(CONVOLUTIONS)}")
        self.in_features = list(in_features)
        names = [f"{prefix}{name[-1]}" for name in in_features]
        channels = [in_channels[name] for name in in_features]
        self.passes = nn.ModuleList()
        for finest in reversed(range(len(channels) - 1)):
            coarser = [(channels[finest + 1], 2)] * (len(channels) - 1 - finest)
            self.passes.append(AggregationPass(channels[finest], coarser, norm=norm, node=node))
        self.final: AggregationPass | None = None
        if single_level:
            coarser = [(channels[i], 2**i) for i in range(1, len(channels) - 1)]
            self.final = AggregationPass(channels[0], coarser, norm=norm, node=node)
            names = names[:1]
        self.channels = dict(zip(names, channels, strict=False))
        self.strides = {name: 2 ** int(name[-1]) for name in names}

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the levels {name: [N, C, H / stride, W / stride]}."""
        maps = [features[name] for name in self.in_features]
        levels = maps[-1:]
        for number, aggregate in enumerate(self.passes):
            finest = len(maps) - 2 - number
            maps[finest:] = aggregate(maps[finest:])
            levels.insert(0, maps[-1])
        if self.final is not None:
            levels = self.final(levels[:-1])[-1:]
        return dict(zip(self.channels, levels, strict=True))


class AggregationPass(nn.Module):
    """Merging of maps from fine to coarse, at the channels and size of the finest.

    Args:
        channels: channels of the finest map and of all outputs.
        coarser: (channels, factor by which it is smaller) of each coarser map, finest first.
    """

    def __init__(
        self, channels: int, coarser: Sequence[tuple[int, int]], *, norm: str, node: str
    ) -> None:
        super().__init__()
        self.project = nn.ModuleDict()  # keys: number of the map; the finest is 0
        self.upsample = nn.ModuleDict()
        self.merge = nn.ModuleDict()
        for number, (in_channels, factor) in enumerate(coarser, start=1):
            self.project[str(number)] = _conv_norm_relu(in_channels, channels, norm=norm, node=node)
            self.upsample[str(number)] = _bilinear_upsampling(channels, factor)
            self.merge[str(number)] = _conv_norm_relu(channels, channels, norm=norm, node=node)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        merged = [maps[0]]
        for number, x in enumerate(maps[1:], start=1):
            x = self.upsample[str(number)](self.project[str(number)](x))
            merged.append(self.merge[str(number)](x + merged[-1]))
        return merged


def _deformable(in_channels: int, out_channels: int) -> nn.Module:
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    return DeformConv2d(conv, modulated=True, offset_groups=1, offset_bias=True)


def _pointwise(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Conv2d(in_channels, out_channels, 1, bias=False)


CONVOLUTIONS: dict[str, Callable[[int, int], nn.Module]] = {"dcn": _deformable, "conv": _pointwise}


def _conv_norm_relu(in_channels: int, out_channels: int, *, norm: str, node: str) -> nn.Sequential:
    return nn.Sequential(
        CONVOLUTIONS[node](in_channels, out_channels),
        make_norm(norm, out_channels),
        nn.ReLU(inplace=True),
    )


def _bilinear_upsampling(channels: int, factor: int) -> nn.ConvTranspose2d:
    """Make a learned upsampling that is initialized as bilinear interpolation."""
    layer = nn.ConvTranspose2d(
        channels,
        channels,
        2 * factor,
        stride=factor,
        padding=factor // 2,
        groups=channels,
        bias=False,
    )
    # distance from the center of the kernel, in pixels of the coarse map
    distance = (torch.arange(2 * factor) + 0.5) / factor - 1
    triangle = 1 - distance.abs()
    with torch.no_grad():
        layer.weight.copy_(triangle[:, None] * triangle)
    return layer
