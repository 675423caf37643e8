"""Necks: the backbone's feature maps -> a feature pyramid by level.

To add one, write a module with a class that has channels, strides and size_divisibility, and its
options. Add the class to the union Neck, the options to NeckOptions, their keys to
config/model_keys.py, and below a function build_NAME with its row of NECKS. In
builders/detector/network.py, add a name to NETWORKS, and to TIMM_NECKS if the neck takes the
feature maps of any backbone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from centernet2.models.backbones import Backbone
from centernet2.models.necks.bifpn import BiFPN as BiFPN
from centernet2.models.necks.bifpn import BiFPNOptions as BiFPNOptions
from centernet2.models.necks.dla_up import DLAUp as DLAUp
from centernet2.models.necks.dla_up import DLAUpOptions as DLAUpOptions
from centernet2.models.necks.fpn import FPN as FPN
from centernet2.models.necks.fpn import FPNOptions as FPNOptions

Neck = FPN | BiFPN | DLAUp


@dataclass(frozen=True)
class NeckOptions:
    """Options of all necks; each reads its own."""

    fpn: FPNOptions = field(default_factory=FPNOptions)  # BiFPN uses its in_features too
    bifpn: BiFPNOptions = field(default_factory=BiFPNOptions)
    dla_up: DLAUpOptions = field(default_factory=DLAUpOptions)


def build_fpn(options: NeckOptions, backbone: Backbone, coarsest: int) -> FPN:
    """Build an FPN, with strided convolutions for levels coarser than the backbone's."""
    extra_levels = max(0, coarsest - int(options.fpn.in_features[-1][-1]))
    return FPN(backbone.channels, options.fpn, extra_levels=extra_levels)


def build_bifpn(options: NeckOptions, backbone: Backbone, coarsest: int) -> BiFPN:
    """Build a BiFPN; its own options set the number of levels."""
    return BiFPN(backbone.channels, options.fpn.in_features, options.bifpn)


def build_fcos_bifpn(options: NeckOptions, backbone: Backbone, coarsest: int) -> BiFPN:
    """Build the variant of BiFPN of the published weights called "fcos"."""
    return BiFPN(
        backbone.channels,
        options.fpn.in_features,
        options.bifpn,
        pool_kernel=3,
        shared_laterals=True,
    )


def build_dla_up(options: NeckOptions, backbone: Backbone, coarsest: int) -> DLAUp:
    """Build a DLA-up that returns all levels."""
    up = options.dla_up
    return DLAUp(
        backbone.channels, up.in_features, norm=backbone.norm, node=up.node, prefix="dlaup"
    )


def build_dla_seg(options: NeckOptions, backbone: Backbone, coarsest: int) -> DLAUp:
    """Build the DLA-up of CenterNet (arXiv 1904.07850): deformable, one level."""
    return DLAUp(
        backbone.channels,
        backbone.out_features,
        norm=backbone.norm,
        node="dcn",
        single_level=not options.dla_up.ms_output,
        prefix="dla",
    )


# arguments: options, backbone, number of the coarsest level (7 for p7, of stride 2**7)
NECKS: dict[str, Callable[[NeckOptions, Backbone, int], Neck]] = {
    "fpn": build_fpn,
    "bifpn": build_bifpn,
    "fcos_bifpn": build_fcos_bifpn,
    "dla_up": build_dla_up,
    "dla_seg": build_dla_seg,
}
