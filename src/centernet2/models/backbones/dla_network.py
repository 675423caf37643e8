"""The network DLA-34, equal to timm's, by whose names its weights are stored."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from centernet2.models.backbones.network_maps import NetworkMaps, init_by_fan_out

CHANNELS = (16, 32, 64, 128, 256, 512)  # of the levels, of strides 1 to 32
DEPTHS = {2: 1, 3: 2, 4: 2, 5: 1}  # of the trees, by level


class DLABlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut, which may come from elsewhere."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:  # [N, C, H, W]
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += shortcut
        activated: Tensor = self.relu(out)
        return activated


class DLARoot(nn.Module):
    """A 1 x 1 convolution that aggregates the outputs of blocks."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        aggregated: Tensor = self.relu(self.bn(self.conv(torch.cat(list(inputs), dim=1))))
        return aggregated


class DLATree(nn.Module):
    """Blocks and trees that a root aggregates (arXiv 1707.06484, figure 3 (f)).

    Args:
        depth: 1: two blocks and a root; more: two trees, the second of which has the root.
        keeps_input: also aggregate the input of the tree.
        root_channels: of the inputs of the root that come from outside of the tree.
    """

    def __init__(
        self,
        depth: int,
        in_channels: int,
        channels: int,
        stride: int,
        *,
        keeps_input: bool = False,
        root_channels: int = 0,
    ) -> None:
        super().__init__()
        self.keeps_input = keeps_input
        self.downsample = nn.MaxPool2d(stride, stride=stride) if stride > 1 else nn.Identity()
        root_channels += in_channels if keeps_input else 0
        self.project: nn.Module = nn.Identity()
        if depth == 1:
            self.tree1: nn.Module = DLABlock(in_channels, channels, stride)
            self.tree2: nn.Module = DLABlock(channels, channels, 1)
            if in_channels != channels:
                convolution = nn.Conv2d(in_channels, channels, 1, bias=False)
                self.project = nn.Sequential(convolution, nn.BatchNorm2d(channels))
            self.root: DLARoot | None = DLARoot(2 * channels + root_channels, channels)
        else:
            self.tree1 = DLATree(depth - 1, in_channels, channels, stride)
            self.tree2 = DLATree(
                depth - 1, channels, channels, 1, root_channels=root_channels + channels
            )
            self.root = None

    def forward(self, x: Tensor, outside: Sequence[Tensor] = ()) -> Tensor:
        """Return the aggregated feature map.

        Args:
            outside: inputs of the root that come from outside of the tree.
        """
        bottom = self.downsample(x)
        kept = (*outside, bottom) if self.keeps_input else tuple(outside)
        if self.root is None:
            first = self.tree1(x)
            aggregated: Tensor = self.tree2(first, (*kept, first))
            return aggregated
        first = self.tree1(x, self.project(bottom))
        second = self.tree2(first, first)
        root: Tensor = self.root((second, first, *kept))
        return root


class DLANetwork(nn.Module):
    """DLA-34 without its classifier (arXiv 1707.06484).

    Args:
        out_indices: the feature maps to return: 1 of stride 2 to 5 of stride 32. Later levels are
            left out.
    """

    def __init__(self, *, out_indices: Sequence[int] = (1, 2, 3, 4, 5)) -> None:
        super().__init__()
        self.base_layer = _conv_level(3, CHANNELS[0], 7, 1)
        self.level0 = _conv_level(CHANNELS[0], CHANNELS[0], 3, 1)
        self.level1 = _conv_level(CHANNELS[0], CHANNELS[1], 3, 2)
        for level in range(2, max(out_indices) + 1):
            shape = (CHANNELS[level - 1], CHANNELS[level], 2)
            tree = DLATree(DEPTHS[level], *shape, keeps_input=level > 2)
            self.add_module(f"level{level}", tree)
        names = [f"level{level}" for level in range(6)]
        self.feature_info = NetworkMaps(names, CHANNELS, (1, 2, 4, 8, 16, 32), out_indices)
        init_by_fan_out(self, by_group=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of images [N, 3, H, W]."""
        x = self.base_layer(x)
        maps = []
        for level in range(max(self.feature_info.out_indices) + 1):
            x = self.get_submodule(f"level{level}")(x)
            maps.append(x)
        return [maps[i] for i in self.feature_info.out_indices]


def _conv_level(in_channels: int, out_channels: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
