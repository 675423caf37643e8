"""ResNet and ResNeXt (arXiv 1512.03385, 1611.05431) as detection backbones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from centernet2.models.backbones.backbone import Backbone
from centernet2.models.backbones.residual_network import BASIC_DEPTHS, BOTTLENECK_DEPTHS


@dataclass(frozen=True)
class ResNetOptions:
    """Residual backbones."""

    depth: int = 50
    out_features: tuple[str, ...] = ("res4",)  # res2 (stride 4) to res5 (stride 32)
    freeze_at: int = 2  # 1 freezes the stem, 2 the stem and res2, and so on; 0 trains all
    norm: str = "FrozenBN"
    num_groups: int = 1  # of the 3x3 convolutions
    width_per_group: int = 64  # channels of a group in res2: 1 x 64 is a ResNet, 32 x 8 a ResNeXt
    stem_out_channels: int = 64  # the only value that is supported
    res2_out_channels: int = 256  # doubled by each later stage
    res5_dilation: int = 1  # the only value that is supported: res5 has stride 32
    stride_in_1x1: bool = True  # as in MSRA's weights; False: in the 3x3, as in torchvision's


class ResNet(Backbone):
    """A ResNet with the variations that Caffe2's ImageNet weights need."""

    def __init__(self, options: ResNetOptions) -> None:
        require_depth(options, BASIC_DEPTHS + BOTTLENECK_DEPTHS)
        bottleneck = options.depth in BOTTLENECK_DEPTHS
        if not bottleneck and options.num_groups != 1:
            raise ValueError(
                f"num_groups is {options.num_groups}; with a depth of {options.depth} it must be 1"
            )
        planes = options.res2_out_channels // (4 if bottleneck else 1)
        super().__init__(
            name=f"resnet{options.depth}",
            out_features=options.out_features,
            freeze_at=options.freeze_at,
            norm=options.norm,
            channels=tuple(planes * 2**i for i in range(4)),
            cardinality=options.num_groups,
            base_width=options.width_per_group * 64 // planes if bottleneck else 64,
        )
        if options.stride_in_1x1 and bottleneck:
            self._put_stride_in_1x1()

    def _put_stride_in_1x1(self) -> None:
        for block in first_blocks(self.body):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride


def require_depth(options: ResNetOptions, depths: Sequence[int]) -> None:
    """Raise ValueError for options that timm's residual networks do not support."""
    if options.depth not in depths:
        known = f"{', '.join(map(str, depths[:-1]))} or {depths[-1]}"
        raise ValueError(f"depth is {options.depth}; choose {known}")
    if options.stem_out_channels != 64:
        raise ValueError(f"stem_out_channels is {options.stem_out_channels}; it must be 64")
    if options.res5_dilation != 1:
        raise ValueError(f"res5_dilation is {options.res5_dilation}; it must be 1")


def first_blocks(body: nn.Module) -> list[Any]:
    """Return the first block of each stage of one of timm's residual networks."""
    stages = [stage for name, stage in body.named_children() if name.startswith("layer")]
    return [next(stage.children()) for stage in stages]
