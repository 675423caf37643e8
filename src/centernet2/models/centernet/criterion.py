"""Losses of the first stage."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from centernet2 import distributed
from centernet2.models.centernet.assigner import StageTargets, flatten_levels
from centernet2.models.centernet.head import HeadOutput
from centernet2.ops.losses import heatmap_focal_loss, ltrb_iou_loss

LTRB_LOSSES = ("iou", "linear_iou", "giou")  # of ops.losses.ltrb_iou_loss


@dataclass(frozen=True)
class FocalOptions:
    """Arguments of ops.losses.heatmap_focal_loss."""

    alpha: float = 0.25
    beta: float = 4
    gamma: float = 2.0
    sigmoid_clamp: float = 0.0001
    ignore_high_fp: float = -1.0


@dataclass(frozen=True)
class CriterionOptions:
    """Losses of the first stage."""

    focal: FocalOptions = field(default_factory=FocalOptions)
    box_loss: str = "giou"  # see ops.losses.ltrb_iou_loss
    positive_weight: float = 1.0
    negative_weight: float = 1.0
    box_weight: float = 2.0
    weigh_boxes: bool = False  # weight box losses by the heat map, instead of equally
    # average the number of positives, by which losses are divided
    average_over_processes: bool = True


class Criterion(nn.Module):
    """Focal loss of heat maps and IoU loss of boxes (arXiv 2103.07461, section 5)."""

    def __init__(self, options: CriterionOptions = CriterionOptions()) -> None:
        super().__init__()
        if options.box_loss not in LTRB_LOSSES:
            raise ValueError(f"box_loss is '{options.box_loss}'; choose {', '.join(LTRB_LOSSES)}")
        self.options = options

    def forward(self, output: HeadOutput, targets: StageTargets) -> dict[str, Tensor]:
        """Return the losses by name."""
        index, labels, valid = targets.positives
        num_positives = self._average(valid.sum().float())
        losses = {}
        if output.class_logits is not None:
            logits, heatmap = flatten_levels(output.class_logits), targets.heatmap  # [M, C]
            if targets.unknown is not None:  # the loss of negatives is 0 where the heat is 1
                heatmap = torch.where(targets.unknown, 1.0, heatmap)
            positive, negative = self._focal(
                logits, heatmap, index * logits.shape[1] + labels, valid
            )
            losses["loss_centernet_pos"] = positive / num_positives
            losses["loss_centernet_neg"] = negative / num_positives
        losses["loss_centernet_loc"] = self._box_loss(flatten_levels(output.ltrb), targets)
        if output.object_logits is not None:
            objectness = targets.heatmap.amax(dim=1, keepdim=True)  # [M, 1]
            positive, negative = self._focal(
                flatten_levels(output.object_logits), objectness, index, valid
            )
            losses["loss_centernet_agn_pos"] = positive / num_positives
            losses["loss_centernet_agn_neg"] = negative / num_positives
        return losses

    def _focal(
        self, logits: Tensor, heatmap: Tensor, index: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        positive, negative = heatmap_focal_loss(
            logits, heatmap, index, valid, **vars(self.options.focal)
        )
        return self.options.positive_weight * positive, self.options.negative_weight * negative

    def _box_loss(self, prediction: Tensor, targets: StageTargets) -> Tensor:
        regressed = targets.ltrb.amax(dim=1) >= 0  # [M]
        weight = (
            regressed * targets.heatmap.amax(dim=1)
            if self.options.weigh_boxes
            else regressed.float()
        )
        # elsewhere any valid box will do: its loss has weight 0
        target = torch.where(regressed[:, None], targets.ltrb, 1.0)
        loss = (ltrb_iou_loss(prediction, target, self.options.box_loss) * weight).sum()
        return self.options.box_weight * (loss / self._average(weight.sum()))

    def _average(self, count: Tensor) -> Tensor:
        if self.options.average_over_processes:
            count = distributed.reduce_mean(count)
        return count.clamp(min=1)
