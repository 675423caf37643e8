"""Backbones: images -> feature maps by name.

To add one, write a module with a subclass of Backbone and its options. Add the options to
BackboneOptions, their keys to config/model_keys.py, a row to BACKBONES, and a name to NETWORKS in
builders/detector/network.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from centernet2.layers import find_norm_pairs, fuse_frozen_norms
from centernet2.models.backbones.backbone import Backbone as Backbone
from centernet2.models.backbones.backbone import TimmOptions as TimmOptions
from centernet2.models.backbones.backbone import any_size_options, exact_multiple, features_at
from centernet2.models.backbones.backbone import pixel_statistics as pixel_statistics
from centernet2.models.backbones.deform import DeformOptions as DeformOptions
from centernet2.models.backbones.deform import deform_stages
from centernet2.models.backbones.dla import DLA as DLA
from centernet2.models.backbones.dla import DLAOptions as DLAOptions
from centernet2.models.backbones.res2net import Res2Net as Res2Net
from centernet2.models.backbones.resnet import ResNet as ResNet
from centernet2.models.backbones.resnet import ResNetOptions as ResNetOptions
from centernet2.models.modes import evaluation_mode

TRACED_SIDE = 64  # of the image by which frozen norms are found


@dataclass(frozen=True)
class BackboneOptions:
    """Options of all backbones; timm reads freeze_at and norm of `resnet` too."""

    resnet: ResNetOptions = field(default_factory=ResNetOptions)
    deform: DeformOptions = field(default_factory=DeformOptions)
    dla: DLAOptions = field(default_factory=DLAOptions)
    timm: TimmOptions = field(default_factory=TimmOptions)


class BackboneFamily(NamedTuple):
    """Builder of a kind of backbone, and the format of its ImageNet weights."""

    # arguments: options, and the feature maps that the neck uses if the options name none
    build: Callable[[BackboneOptions, Sequence[str]], Backbone]
    # Whether the defaults are those of Caffe2's weights. Weights of torchvision and timm fit as
    # well, with strides in the 3x3 convolutions and normalized RGB images.
    caffe2_defaults: bool = False


def build_residual(
    kind: type[ResNet] | type[Res2Net], options: BackboneOptions
) -> ResNet | Res2Net:
    """Build a residual network, with deformable stages if set, and fused frozen norms."""
    backbone = kind(options.resnet)
    deform_stages(backbone.body, options.deform)
    _fuse_norms(backbone)
    return backbone


def _fuse_norms(backbone: Backbone) -> None:
    """Let convolutions compute the frozen normalization behind them."""
    with evaluation_mode(backbone.body):
        pairs = find_norm_pairs(backbone.body, torch.zeros(1, 3, TRACED_SIDE, TRACED_SIDE))
    fuse_frozen_norms(backbone.body, pairs)


def build_timm(options: BackboneOptions, in_features: Sequence[str]) -> Backbone:
    """Build a network of timm, with the feature maps of its options or of the neck.

    Frozen norms are fused.
    """
    timm = options.timm
    any_size = any_size_options(timm.name)
    backbone = Backbone(
        name=timm.name,
        out_features=features_at(timm.name, timm.out_indices) if timm.out_indices else in_features,
        freeze_at=options.resnet.freeze_at,
        norm=options.resnet.norm,
        **any_size,
    )
    backbone.size_divisibility = exact_multiple(timm.name, backbone.strides, any_size)
    _fuse_norms(backbone)
    return backbone


BACKBONES: dict[str, BackboneFamily] = {
    "resnet": BackboneFamily(lambda options, _: build_residual(ResNet, options), True),
    "res2net": BackboneFamily(lambda options, _: build_residual(Res2Net, options), True),
    "dla": BackboneFamily(lambda options, _: DLA(options.dla)),
    "timm": BackboneFamily(build_timm),
}
