"""Res2Net (arXiv 1904.01169) as a detection backbone."""

from torch import nn

from centernet2.models.backbones.backbone import Backbone
from centernet2.models.backbones.resnet import ResNetOptions, first_blocks, require_depth

RES2NET_DEPTHS = (50, 101)


class Res2Net(Backbone):
    """timm's Res2Net v1b (deep stem, average pooling in the shortcuts).

    It has the variations that weights of published detectors need. The group options apply to each
    of the four convolutions in a block: 1 x 26 as published.
    """

    def __init__(self, options: ResNetOptions) -> None:
        require_depth(options, RES2NET_DEPTHS)
        planes = options.res2_out_channels // 4
        super().__init__(
            name=f"res2net{options.depth}d",
            out_features=options.out_features,
            freeze_at=options.freeze_at,
            norm=options.norm,
            channels=tuple(planes * 2**i for i in range(4)),
            cardinality=options.num_groups,
            base_width=options.width_per_group * 64 // planes,
        )
        if options.stride_in_1x1:
            self._put_stride_in_1x1()

    def _put_stride_in_1x1(self) -> None:
        for block in first_blocks(self.body):
            block.conv1.stride = block.convs[0].stride
            for conv in block.convs:
                conv.stride = (1, 1)
            # the pooling reduced the last group of channels to the size of the others
            block.pool = nn.Identity()
