"""Feature Pyramid Networks (arXiv 1612.03144)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from centernet2.layers.convolution import conv_norm


@dataclass(frozen=True)
class FPNOptions:
    """Feature pyramid network."""

    in_features: tuple[str, ...] = ()
    out_channels: int = 256
    norm: str = ""
    fuse_type: str = "sum"


class FPN(nn.Module):
    """A top-down pathway with lateral connections, and coarser levels made from the last one.

    Args:
        in_channels: channels of the backbone's maps, by name.
        in_features: the maps to use, finest first, strides doubling: ("res3", "res4", "res5") give p3, p4, p5.
        out_channels: channels of every level.
        norm: normalisation layer after each convolution ("" for none).
        fuse_type: "sum" adds the top-down and the lateral map, "avg" takes their mean.
        extra_levels: how many levels to add by strided convolutions (2: p6 and p7).
    """

    size_divisibility = 32  # every map is then exactly twice as large as the next

    def __init__(
        self,
        *,
        in_channels: Mapping[str, int],
        in_features: Sequence[str],
        out_channels: int,
        norm: str,
        fuse_type: str,
        extra_levels: int,
    ) -> None:
        super().__init__()
        if fuse_type not in ("sum", "avg"):
            raise ValueError(f"MODEL.FPN.FUSE_TYPE is '{fuse_type}'; choose 'sum' or 'avg'")
        self.in_features = list(in_features)
        self.average = fuse_type == "avg"
        levels = [f"p{name[-1]}" for name in in_features]
        self.lateral = nn.ModuleDict(
            {
                p: conv_norm(in_channels[f], out_channels, 1, norm=norm)
                for p, f in zip(levels, in_features, strict=True)
            }
        )
        self.output = nn.ModuleDict(
            {p: conv_norm(out_channels, out_channels, 3, norm=norm) for p in levels}
        )
        self.extra = [f"p{int(levels[-1][1]) + 1 + i}" for i in range(extra_levels)]
        for name in self.extra:
            setattr(self, name, conv_norm(out_channels, out_channels, 3, norm="", stride=2))
        self.channels = dict.fromkeys([*levels, *self.extra], out_channels)
        self.strides = {p: 2 ** int(p[1]) for p in self.channels}

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The pyramid {"p3": [N, out_channels, H / 8, W / 8], ...} of the backbone's maps."""
        pyramid: dict[str, Tensor] = {}
        merged: Tensor | None = None
        for level, name in reversed(list(zip(self.lateral, self.in_features, strict=True))):
            lateral = self.lateral[level](features[name])
            if merged is not None:
                lateral = lateral + F.interpolate(merged, scale_factor=2.0, mode="nearest")
                lateral = lateral / 2 if self.average else lateral
            merged = lateral
            pyramid[level] = self.output[level](merged)
        pyramid = {level: pyramid[level] for level in self.lateral}
        x = pyramid[next(reversed(pyramid))]
        for i, level in enumerate(self.extra):
            x = getattr(self, level)(x if i == 0 else F.relu(x))
            pyramid[level] = x
        return pyramid
