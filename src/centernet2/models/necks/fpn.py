"""Feature Pyramid Networks (arXiv 1612.03144)."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from centernet2.layers import conv_norm


@dataclass(frozen=True)
class FPNOptions:
    """Feature pyramid network."""

    in_features: tuple[str, ...] = ()  # finest first, strides doubling
    out_channels: int = 256
    norm: str = ""  # after each convolution, "" for none
    fuse_type: str = "sum"  # of the top-down and the lateral map; "avg" takes their mean


class FPN(nn.Module):
    """A top-down pathway with lateral connections, and extra coarse levels.

    Args:
        in_channels: channels of the backbone's feature maps, by name.
        options: feature maps and layers. ("res3", "res4", "res5") give p3, p4, p5.
        extra_levels: number of levels to add by strided convolutions (2: p6 and p7).
    """

    def __init__(
        self, in_channels: Mapping[str, int], options: FPNOptions, *, extra_levels: int = 0
    ) -> None:
        super().__init__()
        if options.fuse_type not in ("sum", "avg"):
            raise ValueError(f"fuse_type is '{options.fuse_type}'; choose 'sum' or 'avg'")
        in_features, out_channels, norm = options.in_features, options.out_channels, options.norm
        self.in_features = list(in_features)
        self.average = options.fuse_type == "avg"
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
        # each fused map is then exactly twice as large as the next; at least 32, as the reference
        self.size_divisibility = max(32, *(self.strides[p] for p in levels))

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the pyramid {"p3": [N, out_channels, H / 8, W / 8], ...}."""
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
            x = x if i == 0 else F.relu(x)
            if self.training and x.shape[3] == 1:
                # at width 1, oneDNN's weight gradient in bfloat16 contains unset memory; a second
                # column of padding does not change the output
                x = F.pad(x, (0, 1))
            x = getattr(self, level)(x)
            pyramid[level] = x
        return pyramid
