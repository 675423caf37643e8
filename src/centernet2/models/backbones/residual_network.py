"""Network of ResNet and ResNeXt, equal to timm's and with the same weight names."""

from collections.abc import Sequence

from torch import Tensor, nn

from centernet2.models.backbones.network_maps import NetworkMaps, init_by_fan_out

BLOCKS = {  # per stage, by depth
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BOTTLENECK_DEPTHS = (50, 101, 152)
BASIC_DEPTHS = (18, 34)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut (arXiv 1512.03385, figure 5 on the left)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = _conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act2 = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, channels, stride)
        nn.init.zeros_(self.bn2.weight)  # the block starts as its shortcut

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W]
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += shortcut
        activated: Tensor = self.act2(x)
        return activated


class Bottleneck(nn.Module):
    """Convolutions 1 x 1, 3 x 3, 1 x 1 and a shortcut (arXiv 1512.03385, figure 5).

    Args:
        width, groups: channels and groups of the 3 x 3 convolution (arXiv 1611.05431).
    """

    def __init__(
        self, in_channels: int, width: int, out_channels: int, stride: int, groups: int
    ) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2: nn.Module = _conv(width, width, 3, stride, groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.act2 = nn.ReLU(inplace=True)
        self.conv3 = _conv(width, out_channels, 1)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.act3 = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, out_channels, stride)
        nn.init.zeros_(self.bn3.weight)  # the block starts as its shortcut

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W]
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.act2(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        x += shortcut
        activated: Tensor = self.act3(x)
        return activated


class ResidualNetwork(nn.Module):
    """ResNet or ResNeXt without its classifier (arXiv 1512.03385, 1611.05431).

    Args:
        depth: 18, 34, 50, 101 or 152.
        out_indices: the feature maps to return: 0 of stride 2 to 4 of stride 32. Later stages are
            left out.
        channels: of the four stages; bottleneck blocks return four times as many.
        cardinality: groups of the 3 x 3 convolutions.
        base_width: channels of a group, per 64 of `channels`.
    """

    def __init__(
        self,
        depth: int,
        *,
        out_indices: Sequence[int] = (0, 1, 2, 3, 4),
        channels: Sequence[int] = (64, 128, 256, 512),
        cardinality: int = 1,
        base_width: int = 64,
    ) -> None:
        super().__init__()
        self.conv1 = _conv(3, 64, 7, 2)
        self.bn1 = nn.BatchNorm2d(64)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        outputs = [c * (4 if depth in BOTTLENECK_DEPTHS else 1) for c in channels]
        inputs = [64, *outputs]
        for i in range(max(out_indices)):
            stage = nn.Sequential()
            for number in range(BLOCKS[depth][i]):
                first = number == 0
                in_channels, stride = inputs[i] if first else outputs[i], 2 if first and i else 1
                if depth in BOTTLENECK_DEPTHS:
                    width = channels[i] * base_width // 64 * cardinality
                    stage.append(Bottleneck(in_channels, width, outputs[i], stride, cardinality))
                else:
                    stage.append(BasicBlock(in_channels, channels[i], stride))
            self.add_module(f"layer{i + 1}", stage)
        names = ("act1", "layer1", "layer2", "layer3", "layer4")
        self.feature_info = NetworkMaps(names, inputs, (2, 4, 8, 16, 32), out_indices)
        init_by_fan_out(self, by_group=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of images [N, 3, H, W]."""
        x = self.act1(self.bn1(self.conv1(x)))
        maps, x = [x], self.maxpool(x)
        for i in range(1, max(self.feature_info.out_indices) + 1):
            x = self.get_submodule(f"layer{i}")(x)
            maps.append(x)
        return [maps[i] for i in self.feature_info.out_indices]


def _conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
    )


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """Make the projection of a shortcut that changes the shape; None: it does not."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(_conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))
