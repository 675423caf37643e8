"""Deformable stages for residual networks (arXiv 1703.06211, section 3.3)."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from centernet2.layers import DeformConv2d


@dataclass(frozen=True)
class DeformOptions:
    """Deformable convolutions in residual backbones (arXiv 1811.11168)."""

    on_per_stage: tuple[bool, ...] = (False,) * 4
    modulated: bool = False
    num_groups: int = 1


def deform_stages(body: nn.Module, options: DeformOptions) -> None:
    """Make the 3x3 convolutions in some stages deformable, in place.

    `body` is a ResNet, or a Res2Net of timm. The stages are layer1 (res2) to layer4 (res5).
    """
    for number, deformable in enumerate(options.on_per_stage, start=1):
        for block in getattr(body, f"layer{number}", ()) if deformable else ():
            _deform_block(block, options)


def _deform_block(block: Any, options: DeformOptions) -> None:
    def deform(conv: nn.Conv2d, offset_bias: bool) -> DeformConv2d:
        layer = DeformConv2d(
            conv,
            modulated=options.modulated,
            offset_groups=options.num_groups,
            offset_bias=offset_bias,
        )
        return layer.requires_grad_(conv.weight.requires_grad)  # frozen stages stay frozen

    if hasattr(block, "convs"):  # of Res2Net; in the published weights the offsets have no bias
        block.convs = nn.ModuleList(deform(conv, offset_bias=False) for conv in block.convs)
    elif hasattr(block, "conv3"):
        block.conv2 = deform(block.conv2, offset_bias=True)
    else:
        raise ValueError("on_per_stage needs bottleneck blocks: a depth of 50 or more")
