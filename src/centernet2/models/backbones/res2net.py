"""Res2Net (arXiv 1904.01169) as a detection backbone."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from centernet2.models.backbones.timm_backbone import TimmBackbone

DEPTHS = (50, 101)


class Res2Net(TimmBackbone):
    """timm's Res2Net v1b (deep stem, average pooling in the shortcuts) with the variations of the detectors' weights.

    Args:
        depth: 50 or 101 layers.
        out_features: maps to return, res2 (stride 4) to res5 (stride 32).
        freeze_at: 1 freezes the stem, 2 the stem and res2, and so on; 0 trains all.
        norm: normalisation layer.
        num_groups, width_per_group: of each of the four convolutions in a block of res2; 1 x 26 as published.
        stem_out_channels: 64, the only stem there is.
        res2_out_channels: channels of res2; each later stage doubles them.
        res5_dilation: 1: res5 has stride 32.
        stride_in_1x1: where a stage halves its map, put the stride into the 1x1 convolution.
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
        if depth not in DEPTHS:
            raise ValueError(
                f"MODEL.RESNETS.DEPTH {depth} is unknown for Res2Net; choose 50 or 101"
            )
        if stem_out_channels != 64 or res5_dilation != 1:
            raise ValueError(
                "MODEL.RESNETS.STEM_OUT_CHANNELS must be 64 and MODEL.RESNETS.RES5_DILATION 1"
            )
        planes = res2_out_channels // 4
        super().__init__(
            name=f"res2net{depth}d",
            out_features=out_features,
            freeze_at=freeze_at,
            norm=norm,
            channels=tuple(planes * 2**i for i in range(4)),
            cardinality=num_groups,
            base_width=width_per_group * 64 // planes,
        )
        if stride_in_1x1:
            _put_stride_in_1x1(self.body)


def _put_stride_in_1x1(body: nn.Module) -> None:
    for name, stage in body.named_children():
        if name.startswith("layer"):
            block: Any = next(stage.children())
            block.conv1.stride = block.convs[0].stride
            for conv in block.convs:
                conv.stride = (1, 1)
            block.pool = (
                nn.Identity()
            )  # it brought the last group of channels to the size of the others
