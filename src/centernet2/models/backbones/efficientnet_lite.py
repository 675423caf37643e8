"""Network of EfficientNet-Lite, equal to timm's and with the same weight names."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from centernet2.layers.same_padding import EvenConv2dSame
from centernet2.models.backbones.network_maps import NetworkMaps, init_by_fan_out

EPSILON = 1e-3  # of batch normalization in TensorFlow
MULTIPLE = 8  # of the number of channels
SCALES = {  # factors of channels and depth, by timm's name
    "tf_efficientnet_lite0": (1.0, 1.0),
    "tf_efficientnet_lite1": (1.0, 1.1),
    "tf_efficientnet_lite2": (1.1, 1.2),
    "tf_efficientnet_lite3": (1.2, 1.4),
    "tf_efficientnet_lite4": (1.4, 1.8),
}


class Stage(NamedTuple):
    """Blocks of a stage before scaling (arXiv 1905.11946, table 1)."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
LAST_OF_STRIDE = (0, 1, 2, 4, 6)  # stages whose output is a feature map: strides 2 to 32


class DepthwiseBlock(nn.Module):
    """A depthwise convolution and a linear one of 1 x 1 (arXiv 1704.04861)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _conv(in_channels, in_channels, kernel, stride, groups=in_channels)
        self.bn1 = _norm(in_channels)
        self.act = nn.ReLU6(inplace=True)
        self.conv_pw = _conv(in_channels, out_channels, 1)
        self.bn2 = _norm(out_channels)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W]
        out: Tensor = self.bn2(self.conv_pw(self.act(self.bn1(self.conv_dw(x)))))
        return out + x if self.has_shortcut else out


class InvertedResidual(nn.Module):
    """A depthwise convolution between one that adds channels and a linear one.

    arXiv 1801.04381, figure 3 (d).
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        width = in_channels * expansion
        self.conv_pw = _conv(in_channels, width, 1)
        self.bn1 = _norm(width)
        self.act1 = nn.ReLU6(inplace=True)
        self.conv_dw = _conv(width, width, kernel, stride, groups=width)
        self.bn2 = _norm(width)
        self.act2 = nn.ReLU6(inplace=True)
        self.conv_pwl = _conv(width, out_channels, 1)
        self.bn3 = _norm(out_channels)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W]
        out: Tensor = self.act1(self.bn1(self.conv_pw(x)))
        out = self.act2(self.bn2(self.conv_dw(out)))
        out = self.bn3(self.conv_pwl(out))
        return out + x if self.has_shortcut else out


class EfficientNetLite(nn.Module):
    """EfficientNet without squeeze-and-excitation, with ReLU6, without its classifier.

    Args:
        name: a key of SCALES.
        out_indices: the feature maps to return: 0 of stride 2 to 4 of stride 32.
    """

    def __init__(self, name: str, *, out_indices: Sequence[int] = (0, 1, 2, 3, 4)) -> None:
        super().__init__()
        wider, deeper = SCALES[name]
        self.conv_stem = _conv(3, 32, 3, 2)
        self.bn1 = _norm(32)
        self.act1 = nn.ReLU6(inplace=True)
        self.blocks = nn.Sequential()
        channels = [32, *(_round(stage.channels * wider) for stage in STAGES)]
        for i, stage in enumerate(STAGES):
            is_scaled = 0 < i < len(STAGES) - 1
            repeats = math.ceil(stage.repeats * deeper) if is_scaled else stage.repeats
            self.blocks.append(_make_stage(stage, channels[i], channels[i + 1], repeats))
        self.feature_info = NetworkMaps(
            [f"blocks.{i}" for i in LAST_OF_STRIDE],
            [channels[i + 1] for i in LAST_OF_STRIDE],
            (2, 4, 8, 16, 32),
            out_indices,
        )
        init_by_fan_out(self, by_group=True)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of images [N, 3, H, W]."""
        x = self.act1(self.bn1(self.conv_stem(x)))
        outputs = []
        for stage in self.blocks:
            x = stage(x)
            outputs.append(x)
        return [outputs[LAST_OF_STRIDE[i]] for i in self.feature_info.out_indices]


def _make_stage(stage: Stage, in_channels: int, out_channels: int, repeats: int) -> nn.Sequential:
    blocks = nn.Sequential()
    for number in range(repeats):
        shape = (in_channels, out_channels, stage.kernel, stage.stride if number == 0 else 1)
        blocks.append(
            DepthwiseBlock(*shape)
            if stage.expansion == 1
            else InvertedResidual(*shape, stage.expansion)
        )
        in_channels = out_channels
    return blocks


def _conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    if stride == 1:
        padding = kernel // 2
        return nn.Conv2d(
            in_channels, out_channels, kernel, padding=padding, groups=groups, bias=False
        )
    return EvenConv2dSame(in_channels, out_channels, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPSILON)


def _round(channels: float) -> int:
    """Round to a multiple, not below nine tenths of the number."""
    rounded = max(MULTIPLE, int(channels + MULTIPLE / 2) // MULTIPLE * MULTIPLE)
    return rounded + MULTIPLE if rounded < 0.9 * channels else rounded
