"""The convolutional head of the first stage."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from centernet2.layers import Conv2d, DeformConv2d, init_normal, init_xavier, make_norm
from centernet2.ops.tensors import full_precision


@dataclass(frozen=True)
class HeadOptions:
    """Network of the first stage."""

    num_classes: int = 80
    objectness: bool = False  # predict a class-agnostic heat map
    only_objectness: bool = False  # without a heat map of classes
    norm: str = "GN"  # of the towers
    num_class_convs: int = 4
    num_box_convs: int = 4
    num_shared_convs: int = 0  # before both towers
    deformable: bool = False  # make the last convolution of each tower deformable
    separable: bool = False  # depthwise separable convolutions in the towers
    prior_prob: float = 0.01  # probability of every location before training


class HeadOutput(NamedTuple):
    """Raw predictions, one entry per level."""

    class_logits: list[Tensor] | None  # [N, C, h, w] each
    object_logits: list[Tensor] | None  # [N, 1, h, w] each
    ltrb: list[Tensor]  # [N, 4, h, w] each: distances in units of the level's stride, >= 0


class CenterNetHead(nn.Module):
    """Towers shared by all levels, with predictions of class, objectness and box.

    Args:
        in_channels: channels of every level.
        num_levels: levels of the pyramid; each has its own scale of box distances.
        options: kinds of predictions, and layers.
    """

    def __init__(
        self, in_channels: int, num_levels: int, options: HeadOptions = HeadOptions()
    ) -> None:
        super().__init__()
        if options.only_objectness and not options.objectness:
            raise ValueError("only_objectness needs objectness: nothing else is predicted")
        self.num_classes = options.num_classes
        self.predicts_objectness = options.objectness
        self.predicts_classes = not options.only_objectness
        self.share_tower = _tower(in_channels, options.num_shared_convs, options)
        num_class_convs = options.num_class_convs if self.predicts_classes else 0
        self.cls_tower = _tower(in_channels, num_class_convs, options)
        self.bbox_tower = _tower(in_channels, options.num_box_convs, options)
        prior = -math.log((1 - options.prior_prob) / options.prior_prob)
        self.bbox_pred = nn.Conv2d(in_channels, 4, 3, padding=1)
        init_normal(self.bbox_pred, std=0.01, bias=8.0)
        self.scales = nn.Parameter(torch.ones(num_levels))
        if self.predicts_objectness:
            self.agn_hm = nn.Conv2d(in_channels, 1, 3, padding=1)
            init_normal(self.agn_hm, std=0.01, bias=prior)
        if self.predicts_classes:
            self.cls_logits = nn.Conv2d(in_channels, options.num_classes, 3, padding=1)
            init_normal(self.cls_logits, std=0.01, bias=prior)

    @property
    def towers(self) -> list[nn.Sequential]:
        """The towers that have layers."""
        return [
            tower for tower in (self.share_tower, self.cls_tower, self.bbox_tower) if len(tower)
        ]

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Predict from feature maps [N, in_channels, h, w], one per level."""
        class_logits: list[Tensor] = []
        object_logits: list[Tensor] = []
        ltrb: list[Tensor] = []
        for level, feature in enumerate(features):
            shared = self.share_tower(feature)
            distances, *objectness = _predict(
                self.bbox_tower(shared),
                self.bbox_pred,
                *([self.agn_hm] if self.predicts_objectness else []),
            )
            ltrb.append(F.relu(distances * self.scales[level]))
            object_logits += objectness
            if self.predicts_classes:
                class_logits += _predict(self.cls_tower(shared), self.cls_logits)
        return HeadOutput(class_logits or None, object_logits or None, ltrb)


def _predict(feature: Tensor, *layers: nn.Conv2d) -> Sequence[Tensor]:
    """Apply several 3x3 convolutions to a feature map as one convolution.

    Outputs have the precision of the weights, also under autocast. Nearly all of a heat map is
    background with almost equal logits: rounding would shift the loss of all of it in one
    direction.
    """
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([cast(Tensor, layer.bias) for layer in layers])
    with full_precision(feature):
        out = F.conv2d(feature.to(weight.dtype), weight, bias, padding=1)
    return torch.split(out, [layer.out_channels for layer in layers], dim=1)


def _tower(channels: int, num_convs: int, options: HeadOptions) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(num_convs):
        is_last = i == num_convs - 1
        layers += _tower_convs(channels, options, deformable=options.deformable and is_last)
        if options.norm:
            layers.append(make_norm(options.norm, channels))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def _tower_convs(channels: int, options: HeadOptions, *, deformable: bool) -> list[nn.Module]:
    """Make a 3x3 convolution: plain, deformable, or depthwise and pointwise."""
    if deformable:
        conv = nn.Conv2d(channels, channels, 3, padding=1)
        init_normal(conv, std=0.01)
        return [DeformConv2d(conv, modulated=True, offset_groups=1, offset_bias=True)]
    if not options.separable:
        conv = Conv2d(channels, channels, 3, padding=1)
        init_normal(conv, std=0.01)
        return [conv]
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    pointwise = nn.Conv2d(channels, channels, 1)
    init_xavier(depthwise)
    init_normal(pointwise, std=0.01)
    return [depthwise, pointwise]
