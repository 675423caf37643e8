"""ResNet and ResNeXt (arXiv 1512.03385, 1611.05431) as detection backbones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from centernet2.models.backbones.timm_backbone import TimmBackbone

BOTTLENECK_DEPTHS = (50, 101, 152)
BASIC_DEPTHS = (18, 34)


@dataclass(frozen=True)
class ResNetOptions:
    """Residual backbones."""

    depth: int = 50
    out_features: tuple[str, ...] = ("res4",)
    freeze_at: int = 2
    norm: str = "FrozenBN"
    num_groups: int = 1
    width_per_group: int = 64
    stem_out_channels: int = 64
    res2_out_channels: int = 256
    res5_dilation: int = 1
    stride_in_1x1: bool = True


class ResNet(TimmBackbone):
    """timm's ResNet with the variations that the Caffe2 ImageNet weights ask for.

    Args:
        depth: 18, 34, 50, 101 or 152 layers.
        out_features: maps to return, res2 (stride 4) to res5 (stride 32).
        freeze_at: 1 freezes the stem, 2 the stem and res2, and so on; 0 trains all.
        norm: normalisation layer.
        num_groups, width_per_group: 1 x 64 is a ResNet, 32 x 8 a ResNeXt.
        stem_out_channels: 64, the only stem there is.
        res2_out_channels: channels of res2; each later stage doubles them.
        res5_dilation: 1: res5 has stride 32.
        stride_in_1x1: where a stage halves its map, put the stride into the 1x1 convolution (MSRA's weights)
            rather than into the 3x3 one (torchvision's weights).
    """

    def __init__(
        self,
        *,
        depth: int,
        out_features: Sequence[str],
        freeze_at: int,
        norm: str,
        num_groups: int,
        width_per_group: int,
        stem_out_channels: int,
        res2_out_channels: int,
        res5_dilation: int,
        stride_in_1x1: bool,
    ) -> None:
        if depth not in BASIC_DEPTHS + BOTTLENECK_DEPTHS:
            raise ValueError(
                f"MODEL.RESNETS.DEPTH {depth} is unknown; choose 18, 34, 50, 101 or 152"
            )
        if stem_out_channels != 64 or res5_dilation != 1:
            raise ValueError(
                "MODEL.RESNETS.STEM_OUT_CHANNELS must be 64 and MODEL.RESNETS.RES5_DILATION 1"
            )
        planes = res2_out_channels // (4 if depth in BOTTLENECK_DEPTHS else 1)
        super().__init__(
            name=f"resnet{depth}",
            out_features=out_features,
            freeze_at=freeze_at,
            norm=norm,
            channels=tuple(planes * 2**i for i in range(4)),
            cardinality=num_groups,
            base_width=width_per_group * 64 // planes if depth in BOTTLENECK_DEPTHS else 64,
        )
        if stride_in_1x1 and depth in BOTTLENECK_DEPTHS:
            _put_stride_in_1x1(self.body)


def _put_stride_in_1x1(body: nn.Module) -> None:
    for name, stage in body.named_children():
        if name.startswith("layer"):
            block: Any = next(stage.children())
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
