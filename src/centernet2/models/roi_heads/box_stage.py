"""A stage of the cascade: class logits and box deltas of RoIs, and their losses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from centernet2.layers import init_normal
from centernet2.models.roi_heads.box_head import BoxHead
from centernet2.models.roi_heads.sampling import RoIs
from centernet2.ops.boxes import decode_deltas, encode_deltas
from centernet2.ops.losses import (
    BOX_IOU_LOSSES,
    box_iou_loss,
    box_regression_loss,
    sigmoid_classification_loss,
    softmax_classification_loss,
)
from centernet2.ops.tensors import of_labels

BOX_LOSSES = ("smooth_l1", *BOX_IOU_LOSSES)


@dataclass(frozen=True)
class BoxStageOptions:
    """Predictions and losses of a box stage."""

    class_agnostic: bool = False  # one box for all classes
    sigmoid: bool = False  # a sigmoid per class instead of a softmax
    prior_prob: float = 0.01  # probability of every class before training, with sigmoids
    box_loss: str = "smooth_l1"  # or giou, diou, ciou
    box_loss_weight: float = 1.0
    smooth_l1_beta: float = 0.0  # error at which the loss becomes linear; 0 is L1


@dataclass(frozen=True)
class FederatedOptions:
    """Federated loss for LVIS, which annotates a part of the classes.

    arXiv 2103.07461, experiments on LVIS.
    """

    enabled: bool = False
    num_classes: int = 50  # classes in the loss of each step
    frequency_exponent: float = 0.5  # of the number of images with the class
    frequency_file: str = "datasets/lvis/lvis_v1_train_cat_info.json"  # images per class


class StageOutput(NamedTuple):
    """Predictions of one stage for all RoIs of a batch."""

    logits: Tensor  # [R, C + 1], background last
    deltas: Tensor  # [R, 4 * K]
    boxes: Tensor  # [R, K, 4] RoIs refined by the deltas, without gradient


class BoxStage(nn.Module):
    """A box head with its predictors.

    K is 1 for class-agnostic boxes, else `num_classes`.

    Args:
        box_head: network of the pooled features.
        num_classes: without background.
        min_iou: IoU with an object from which an RoI is positive.
        bbox_reg_weights: scale of the four deltas.
        options: predictions and losses.
        class_weight: [C] weights by which the federated loss samples classes without an RoI; None:
            no federated loss, but all classes.
        num_federated: classes in the federated loss of each step.
    """

    class_weight: Tensor | None

    def __init__(
        self,
        box_head: BoxHead,
        num_classes: int,
        *,
        min_iou: float = 0.5,
        bbox_reg_weights: Sequence[float] = (10.0, 10.0, 5.0, 5.0),
        options: BoxStageOptions = BoxStageOptions(),
        class_weight: Tensor | None = None,
        num_federated: int = FederatedOptions.num_classes,
    ) -> None:
        super().__init__()
        if options.box_loss not in BOX_LOSSES:
            raise ValueError(
                f"box_loss is '{options.box_loss}'; choose one of {', '.join(BOX_LOSSES)}"
            )
        self.num_classes = num_classes
        self.min_iou = min_iou
        self.bbox_reg_weights = tuple(bbox_reg_weights)
        self.options = options
        self.num_federated = num_federated
        self.box_head = box_head
        boxes = 1 if options.class_agnostic else num_classes
        self.cls_score = nn.Linear(box_head.out_channels, num_classes + 1)
        self.bbox_pred = nn.Linear(box_head.out_channels, boxes * 4)
        prior = options.prior_prob
        init_normal(
            self.cls_score,
            std=0.01,
            bias=-math.log((1 - prior) / prior) if options.sigmoid else 0.0,
        )
        init_normal(self.bbox_pred, std=0.001)
        self.register_buffer("class_weight", class_weight)

    def forward(self, pooled: Tensor, boxes: Tensor) -> StageOutput:
        """Classify RoIs and refine their boxes.

        Args:
            pooled: features [R, channels, size, size].
            boxes: [R, 4].
        """
        x = self.box_head(pooled)
        logits, deltas = self.cls_score(x), self.bbox_pred(x)
        refined = decode_deltas(boxes, deltas.detach(), self.bbox_reg_weights)
        return StageOutput(logits, deltas, refined)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Convert logits [R, C + 1] to class probabilities, in float32."""
        return logits.float().sigmoid() if self.options.sigmoid else logits.float().softmax(dim=1)

    def losses(
        self,
        rois: RoIs,
        output: StageOutput,
        generator: torch.Generator | None,
        unknown: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the stage's losses by name, for the RoIs of all images.

        Args:
            rois, output: of all images.
            generator: of the federated loss; None: torch's global one.
            unknown: [R, C] bool: classes that were not labelled in the image of each RoI; None:
                all were.
        """
        weights = rois.valid.float()
        classes = None
        if self.class_weight is not None:
            classes = federated_classes(
                rois.labels, rois.valid, self.class_weight, self.num_federated, generator=generator
            )
        classification = (
            sigmoid_classification_loss if self.options.sigmoid else softmax_classification_loss
        )
        positive = (rois.labels < self.num_classes) & rois.valid
        # divided by all RoIs, not by the positives, so that all objects have equal influence
        box_loss = self._box_losses(rois, output, positive).sum() / weights.sum().clamp(min=1)
        return {
            "loss_cls": classification(output.logits, rois.labels, weights, classes, unknown),
            "loss_box_reg": self.options.box_loss_weight * box_loss,
        }

    def _box_losses(self, rois: RoIs, output: StageOutput, positive: Tensor) -> Tensor:
        """Compute the box loss [R] of each RoI, 0 if it is not positive."""
        # background has no target box; a unit box keeps the arithmetic finite
        unit = torch.cat([rois.boxes.new_zeros(2), rois.boxes.new_ones(2)])
        boxes = torch.where(positive[:, None], rois.boxes, unit)
        targets = torch.where(positive[:, None], rois.targets, boxes)
        deltas = of_labels(torch.unflatten(output.deltas, 1, (-1, 4)), rois.labels)  # [R, 4]
        if self.options.box_loss == "smooth_l1":
            wanted = encode_deltas(boxes, targets, self.bbox_reg_weights)
            loss = box_regression_loss(deltas, wanted, self.options.smooth_l1_beta)
        else:
            refined = decode_deltas(boxes, deltas, self.bbox_reg_weights)[:, 0]
            loss = box_iou_loss(refined, targets, self.options.box_loss)
        return loss * positive


def federated_classes(
    labels: Tensor,
    valid: Tensor,
    class_weight: Tensor,
    num_classes: int,
    *,
    generator: torch.Generator | None,
) -> Tensor:
    """Sample the classes of the federated loss: [C], 1 for each of them, else 0.

    They are the classes of the RoIs, and others drawn by weight (arXiv 2103.07461, LVIS).

    Args:
        labels: [R] in 0..C.
        valid: [R] bool.
        class_weight: [C].
        num_classes: number of classes, including background if an RoI is background.
    """
    zeros = class_weight.new_zeros(len(class_weight) + 1)
    appeared = zeros.index_add(0, labels, valid.to(class_weight.dtype)) > 0  # [C + 1]
    missing = num_classes - appeared.sum()
    # weighted sampling without replacement by exponential clocks (Gumbel top-k)
    clock = torch.empty_like(class_weight).exponential_(generator=generator)
    key = torch.where(appeared[:-1] | (class_weight <= 0), -1.0, class_weight / clock)
    rank = key.argsort(descending=True).argsort()
    drawn = (rank < missing) & (key > 0)
    return (appeared[:-1] | drawn).to(class_weight.dtype)
