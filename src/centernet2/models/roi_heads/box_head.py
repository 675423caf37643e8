"""Classification and box regression of pooled regions."""

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from centernet2.layers.convolution import conv_norm, init_normal, init_xavier


@dataclass(frozen=True)
class BoxHeadOptions:
    """Network of a box head."""

    num_conv: int = 0
    conv_dim: int = 256
    norm: str = ""
    num_fc: int = 0
    fc_dim: int = 1024


class BoxHead(nn.Sequential):
    """Convolutions and fully connected layers, each with a ReLU: [R, C, size, size] -> [R, out_channels].

    Args:
        in_channels, size: of the pooled regions.
        num_conv, conv_dim, norm: how many 3x3 convolutions, their channels, their normalisation.
        num_fc, fc_dim: how many fully connected layers, their width.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        size: int,
        num_conv: int,
        conv_dim: int,
        norm: str,
        num_fc: int,
        fc_dim: int,
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for k in range(1, num_conv + 1):
            layers[f"conv{k}"] = conv_norm(in_channels, conv_dim, 3, norm=norm)
            layers[f"conv_relu{k}"] = nn.ReLU()
            in_channels = conv_dim
        layers["flatten"] = nn.Flatten()
        width = in_channels * size * size
        for k in range(1, num_fc + 1):
            fc = nn.Linear(width, fc_dim)
            init_xavier(fc)
            layers[f"fc{k}"] = fc
            layers[f"fc_relu{k}"] = nn.ReLU()
            width = fc_dim
        super().__init__(layers)
        self.out_channels = width


@dataclass(frozen=True)
class BoxPredictorOptions:
    """Predictions on top of a box head."""

    cls_agnostic_bbox_reg: bool = False
    prior_prob: float = 0.01
    cat_freq_path: str = "datasets/lvis/lvis_v1_train_cat_info.json"
    fed_loss_freq_weight: float = 0.5


class BoxStage(nn.Module):
    """One stage of the cascade: a box head, class logits and box deltas.

    Args:
        box_head: the features' network.
        num_classes: without background.
        num_box_classes: 1 for class-agnostic box regression, else num_classes.
        prior_prob: where given, the probability of every class before training (for sigmoid classification).
        class_weight: [C] relative chance of a class to be drawn as a negative by the federated loss, or None.
    """

    class_weight: Tensor | None

    def __init__(
        self,
        box_head: BoxHead,
        *,
        num_classes: int,
        num_box_classes: int,
        prior_prob: float | None,
        class_weight: Tensor | None,
    ) -> None:
        super().__init__()
        self.box_head = box_head
        self.cls_score = nn.Linear(box_head.out_channels, num_classes + 1)
        self.bbox_pred = nn.Linear(box_head.out_channels, num_box_classes * 4)
        bias = -math.log((1 - prior_prob) / prior_prob) if prior_prob is not None else 0.0
        init_normal(self.cls_score, std=0.01, bias=bias)
        init_normal(self.bbox_pred, std=0.001)
        self.register_buffer("class_weight", class_weight)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:  # [R, C, size, size]
        """Class logits [R, C + 1], background last, and box deltas [R, 4 * num_box_classes]."""
        x = self.box_head(pooled)
        return self.cls_score(x), self.bbox_pred(x)


def federated_classes(
    labels: Tensor,
    valid: Tensor,
    class_weight: Tensor,
    num_classes: int,
    *,
    generator: torch.Generator | None,
) -> Tensor:
    """Which classes [C] (0 or 1) a batch is judged on: those that appear in it and some others, drawn by weight.

    The federated loss of arXiv 2103.07461, section 5 (LVIS): an image is annotated for a part of the classes only.

    Args:
        labels: [R] in 0..C.
        valid: [R] bool.
        class_weight: [C].
        num_classes: how many classes to judge on, background counted when it appears.
    """
    counts = class_weight.new_zeros(len(class_weight) + 1).index_add(
        0, labels, valid.to(class_weight.dtype)
    )
    appeared = counts > 0  # [C + 1]
    missing = num_classes - appeared.sum()
    # drawing without replacement by weight: the largest of exponential clocks (Gumbel top-k)
    clock = torch.empty_like(class_weight).exponential_(generator=generator)
    key = torch.where(appeared[:-1] | (class_weight <= 0), -1.0, class_weight / clock)
    rank = key.argsort(descending=True).argsort()
    drawn = (rank < missing) & (key > 0)
    return (appeared[:-1] | drawn).to(class_weight.dtype)
