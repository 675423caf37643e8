"""The second stage (arXiv 2103.07461, section 4; cascade: arXiv 1712.00726)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from centernet2.kernels import is_synchronous
from centernet2.layers import ScaleGradient
from centernet2.models.roi_heads.box_stage import BoxStage, StageOutput
from centernet2.models.roi_heads.mask_head import MaskBranch
from centernet2.models.roi_heads.pooler import RoIPooler, number_boxes
from centernet2.models.roi_heads.sampling import RoIs, RoISampler, join, match, unknown_classes
from centernet2.models.roi_heads.selection import DetectionSelector, Selected
from centernet2.ops.boxes import Size, clip_boxes, clip_to, nonempty
from centernet2.ops.tensors import constant
from centernet2.structures import Detections, Proposals, Target


@dataclass(frozen=True)
class RoIHeadsOptions:
    """Second stage."""

    in_features: tuple[str, ...] = ("res4",)  # levels of the pyramid to pool from
    num_classes: int = 80  # without background


class RoIHeadsOutput(NamedTuple):
    """Output of the second stage for a batch of images."""

    stages: list[StageOutput]  # for all images together; empty in training
    detections: list[Detections]  # of each image, masks in the grid of their box
    sources: list[Tensor]  # [D] row of the proposal behind each detection
    losses: dict[str, Tensor]  # in training


class CascadeRoIHeads(nn.Module):
    """A cascade of box stages, each refining the boxes of the previous one.

    A Faster R-CNN head is a cascade of one stage. The score of a detection combines both stages of
    the detector: the square root of the product of the class probability, averaged over the
    cascade, and the first stage's score (section 4, eq. 1).

    Args:
        pooler: pools RoI features for boxes.
        stages: the cascade.
        sampler: samples the RoIs for training.
        selection: selects the detections.
        mask_branch: predicts masks of detections; None: no masks.
        in_features: names of the pyramid's levels to pool from.
    """

    def __init__(
        self,
        pooler: RoIPooler,
        stages: Sequence[BoxStage],
        sampler: RoISampler,
        selection: DetectionSelector,
        mask_branch: MaskBranch | None = None,
        *,
        in_features: Sequence[str],
    ) -> None:
        super().__init__()
        self.pooler = pooler
        self.stages = nn.ModuleList(stages)
        self.sampler = sampler
        self.selection = selection
        self.mask_branch = mask_branch
        self.in_features = list(in_features)
        self.num_classes = stages[0].num_classes
        self.generator: torch.Generator | None = None  # of random numbers; None: torch's global one

    def forward(
        self,
        features: Mapping[str, Tensor],
        proposals: Sequence[Proposals],
        sizes: Sequence[Size],
        targets: Sequence[Target] | None = None,
        *,
        masks: bool = True,
    ) -> RoIHeadsOutput:
        """Return detections of every image; in training, losses instead.

        Args:
            features: {name: [N, channels, h, w]}.
            proposals: of each image.
            sizes: (height, width) of each image before padding.
            targets: ground truth, in training.
            masks: whether to predict masks, if there is a mask branch.
        """
        levels = self.levels(features)
        if self.training and targets is not None:
            return RoIHeadsOutput([], [], [], self._losses(levels, proposals, sizes, targets))
        with torch.no_grad():
            stages, selected = self._detect(levels, proposals, sizes)
            detections = [each.detections for each in selected]
            if masks:
                detections = self._with_masks(levels, detections)
        return RoIHeadsOutput(stages, detections, [each.sources for each in selected], {})

    def levels(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """Select the feature maps to pool from, finest first."""
        return [features[name] for name in self.in_features]

    def probabilities(
        self, stages: Sequence[StageOutput], proposals: Sequence[Proposals]
    ) -> list[Tensor]:
        """Return class probabilities [R, C] of each image, averaged over the cascade."""
        mean = self.mean_probabilities(stages)
        return list(torch.split(mean, [len(each.boxes) for each in proposals]))

    def mean_probabilities(self, stages: Sequence[StageOutput]) -> Tensor:
        """Return class probabilities [R, C], averaged over the cascade."""
        return mean_probabilities(
            [
                cast(BoxStage, stage).probabilities(output.logits)
                for stage, output in zip(self.stages, stages, strict=True)
            ]
        )

    def refine(self, levels: Sequence[Tensor], rois: Tensor, limits: Tensor) -> list[StageOutput]:
        """Refine and classify RoIs by the cascade.

        Args:
            levels: feature maps [N, channels, h, w], finest first.
            rois: [R, 5], see `number_boxes`.
            limits: [R, 4] or [4], width and height twice: the RoIs are clipped to their image.
        """
        images, boxes = rois[:, :1], rois[:, 1:]
        outputs: list[StageOutput] = []
        for stage in self.stages:
            if outputs:  # the boxes of a cascade are class-agnostic
                boxes = clip_to(outputs[-1].boxes[:, 0], limits)
                rois = torch.cat([images, boxes], dim=1)
            outputs.append(stage(self.pooler(levels, rois), boxes))
        return outputs

    def embed(self, levels: Sequence[Tensor], boxes: Sequence[Tensor]) -> list[Tensor]:
        """Return the features [R_i, channels] of boxes [R_i, 4] from the last box head."""
        last = cast(BoxStage, self.stages[-1])
        embedded: Tensor = last.box_head(self.pooler(levels, number_boxes(boxes)))
        return list(torch.split(embedded.float(), [len(each) for each in boxes]))

    def _detect(
        self, levels: Sequence[Tensor], proposals: Sequence[Proposals], sizes: Sequence[Size]
    ) -> tuple[list[StageOutput], list[Selected]]:
        boxes = [each.boxes for each in proposals]
        outputs = self.refine(levels, number_boxes(boxes), limits_of(boxes, sizes))
        refined = torch.split(outputs[-1].boxes, [len(each) for each in boxes])
        probabilities = self.probabilities(outputs, proposals)
        columns = zip(refined, probabilities, proposals, sizes, strict=True)
        return outputs, [self.selection(*row) for row in columns]

    def _with_masks(
        self, levels: Sequence[Tensor], detections: list[Detections]
    ) -> list[Detections]:
        if self.mask_branch is None:
            return detections
        masks = self.mask_branch.predict(levels, detections)
        return [{**d, "box_masks": own} for d, own in zip(detections, masks, strict=True)]

    def _losses(
        self,
        levels: Sequence[Tensor],
        proposals: Sequence[Proposals],
        sizes: Sequence[Size],
        targets: Sequence[Target],
    ) -> dict[str, Tensor]:
        rois = [self._sample(p, t) for p, t in zip(proposals, targets, strict=True)]
        losses = self._mask_losses(levels, rois, targets)
        # the gradients of all stages add up in the shared features: scaled so that their sum does
        # not grow with the number of stages
        levels = [ScaleGradient.apply(level, 1 / len(self.stages)) for level in levels]
        output: StageOutput | None = None
        for k, stage in enumerate(cast(Sequence[BoxStage], self.stages)):
            if output is not None:
                rois = self._match_again(rois, output, sizes, targets, stage.min_iou)
            boxes = [each.boxes for each in rois]
            output = stage(self.pooler(levels, number_boxes(boxes)), torch.cat(boxes))
            suffix = f"_stage{k}" if len(self.stages) > 1 else ""
            unknown = unknown_classes(rois, targets, stage.min_iou, self.num_classes)
            named = stage.losses(join(rois), output, self.generator, unknown)
            losses |= {name + suffix: loss for name, loss in named.items()}
        return losses

    def _sample(self, proposals: Proposals, target: Target) -> RoIs:
        return self.sampler(
            proposals,
            target,
            min_iou=cast(BoxStage, self.stages[0]).min_iou,
            num_classes=self.num_classes,
            generator=self.generator,
        )

    def _match_again(
        self,
        rois: Sequence[RoIs],
        output: StageOutput,
        sizes: Sequence[Size],
        targets: Sequence[Target],
        min_iou: float,
    ) -> list[RoIs]:
        """Match the refined boxes of a stage to objects, as RoIs of the next stage."""
        boxes = _refined([each.boxes for each in rois], output, sizes)
        return [
            match(refined, each.valid & nonempty(refined), target, min_iou, self.num_classes)
            for refined, each, target in zip(boxes, rois, targets, strict=True)
        ]

    def _mask_losses(
        self, levels: Sequence[Tensor], rois: Sequence[RoIs], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Compute the mask loss of the positive RoIs of the cascade's first stage."""
        if self.mask_branch is None:
            return {}
        limit = self.sampler.max_positives  # the positives come first
        if is_synchronous(levels[0].device) and not self.selection.static_shapes:
            counts = [((r.labels < self.num_classes) & r.valid).sum() for r in rois]
            limit = max(int(count) for count in counts)  # no mask head for negatives
        first = [RoIs(*(column[:limit] for column in each)) for each in rois]
        return {"loss_mask": self.mask_branch.loss(levels, first, targets, self.num_classes)}


def mean_probabilities(stages: Sequence[Tensor]) -> Tensor:
    """Average class probabilities [R, C + 1] of the stages; drop background: [R, C]."""
    total = stages[0].new_zeros(())
    for probabilities in stages:
        total = total + probabilities
    return total[:, :-1] / len(stages)


def limits_of(boxes: Sequence[Tensor], sizes: Sequence[Size]) -> Tensor:
    """Return limits [R, 4] to which boxes [R_i, 4] of images of `sizes` are clipped."""
    limits = constant([(width, height, width, height) for height, width in sizes], boxes[0])
    return torch.cat([own.expand(len(b), 4) for own, b in zip(limits, boxes, strict=True)])


def _refined(boxes: Sequence[Tensor], output: StageOutput, sizes: Sequence[Size]) -> list[Tensor]:
    """Return the refined boxes [R_i, 4] of each image, clipped to the image.

    The boxes of a cascade are class-agnostic: K is 1.
    """
    parts = torch.split(output.boxes[:, 0], [len(each) for each in boxes])
    return [clip_boxes(part, size) for part, size in zip(parts, sizes, strict=True)]
