"""The convolutional head of the first stage."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from centernet2.layers.conv import Conv2d, init_normal
from centernet2.layers.deform_conv import DeformConv2d
from centernet2.layers.norm import make_norm
from centernet2.ops.precision import full_precision


class HeadOutput(NamedTuple):
    """Raw predictions, one entry per level."""

    class_logits: list[Tensor] | None  # [N, C, h, w] each
    object_logits: list[Tensor] | None  # [N, 1, h, w] each
    ltrb: list[Tensor]  # [N, 4, h, w] each: distances in units of the level's stride, >= 0


@dataclass(frozen=True)
class CenterNetHeadOptions:
    """Network of the first stage."""

    num_classes: int = 80
    with_agn_hm: bool = False
    only_proposal: bool = False
    norm: str = "GN"
    num_cls_convs: int = 4
    num_box_convs: int = 4
    num_share_convs: int = 0
    use_deformable: bool = False
    prior_prob: float = 0.01


class CenterNetHead(nn.Module):
    """Towers of convolutions shared by all levels, and predictions of class, objectness and box on top of them.

    Args:
        in_channels: channels of every level.
        num_levels: how many levels; each has its own factor on the box distances.
        num_classes: classes of the class heat map.
        with_agn_hm: predict a class-agnostic objectness heat map.
        only_proposal: predict no classes.
        norm: normalisation layer of the towers.
        num_cls_convs, num_box_convs, num_share_convs: length of the towers.
        use_deformable: make the last convolution of each tower a deformable one.
        prior_prob: probability that the untrained head gives to every location.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_levels: int,
        num_classes: int,
        with_agn_hm: bool,
        only_proposal: bool,
        norm: str,
        num_cls_convs: int,
        num_box_convs: int,
        num_share_convs: int,
        use_deformable: bool,
        prior_prob: float,
    ) -> None:
        super().__init__()
        if only_proposal and not with_agn_hm:
            raise ValueError(
                "MODEL.CENTERNET.ONLY_PROPOSAL needs MODEL.CENTERNET.WITH_AGN_HM: nothing else is predicted"
            )
        self.num_classes = num_classes
        self.with_agn_hm = with_agn_hm
        self.only_proposal = only_proposal
        self.share_tower = _tower(in_channels, num_share_convs, norm, use_deformable)
        self.cls_tower = _tower(
            in_channels, 0 if only_proposal else num_cls_convs, norm, use_deformable
        )
        self.bbox_tower = _tower(in_channels, num_box_convs, norm, use_deformable)
        prior = -math.log((1 - prior_prob) / prior_prob)
        self.bbox_pred = nn.Conv2d(in_channels, 4, 3, padding=1)
        init_normal(self.bbox_pred, std=0.01, bias=8.0)
        self.scales = nn.Parameter(torch.ones(num_levels))
        if with_agn_hm:
            self.agn_hm = nn.Conv2d(in_channels, 1, 3, padding=1)
            init_normal(self.agn_hm, std=0.01, bias=prior)
        if not only_proposal:
            self.cls_logits = nn.Conv2d(in_channels, num_classes, 3, padding=1)
            init_normal(self.cls_logits, std=0.01, bias=prior)

    @property
    def towers(self) -> list[nn.Sequential]:
        """The towers that have layers."""
        return [
            tower for tower in (self.share_tower, self.cls_tower, self.bbox_tower) if len(tower)
        ]

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Predictions for feature maps [N, in_channels, h, w], one per level."""
        class_logits: list[Tensor] = []
        object_logits: list[Tensor] = []
        ltrb: list[Tensor] = []
        for level, feature in enumerate(features):
            shared = self.share_tower(feature)
            box_feature = self.bbox_tower(shared)
            distances, *objectness = _predict(
                box_feature, self.bbox_pred, *([self.agn_hm] if self.with_agn_hm else [])
            )
            ltrb.append(F.relu(distances * self.scales[level]))
            object_logits += objectness
            if not self.only_proposal:
                class_logits += _predict(self.cls_tower(shared), self.cls_logits)
        return HeadOutput(class_logits or None, object_logits or None, ltrb)


def _predict(feature: Tensor, *layers: nn.Conv2d) -> Sequence[Tensor]:
    """Outputs of 3x3 convolutions of one map, computed as one and in their weights' precision, under autocast too.

    Nearly all of a heat map is background of almost one logit: rounded, it moves the loss of all of it the same way.
    """
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([cast(Tensor, layer.bias) for layer in layers])
    with full_precision(feature):
        out = F.conv2d(feature.to(weight.dtype), weight, bias, padding=1)
    return torch.split(out, [layer.out_channels for layer in layers], dim=1)


def _tower(channels: int, num_convs: int, norm: str, use_deformable: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(num_convs):
        deformable = use_deformable and i == num_convs - 1
        conv = (nn.Conv2d if deformable else Conv2d)(channels, channels, 3, padding=1)
        init_normal(conv, std=0.01)
        layers.append(
            DeformConv2d(conv, modulated=True, offset_groups=1, offset_bias=True)
            if deformable
            else conv
        )
        if norm:
            layers.append(make_norm(norm, channels))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)
