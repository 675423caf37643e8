"""The second stage: what the objects are (arXiv 2103.07461, section 4; cascade: arXiv 1712.00726)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from centernet2.kernels.capabilities import is_synchronous
from centernet2.kernels.operators import nms_mask, paste_box_masks
from centernet2.layers.convolution import ScaleGradient
from centernet2.layers.roi_pooler import RoIPooler
from centernet2.models.roi_heads.box_head import BoxStage, federated_classes
from centernet2.models.roi_heads.mask_head import MaskHead
from centernet2.models.roi_heads.sampling import Regions, append_ground_truth, match, sample
from centernet2.ops.boxes import Size, clip_boxes, decode_deltas, encode_deltas, nonempty
from centernet2.ops.losses import (
    BOX_IOU_LOSSES,
    box_regression_loss,
    sigmoid_classification_loss,
    softmax_classification_loss,
)
from centernet2.ops.masks import mask_loss, mask_targets, masks_of_labels
from centernet2.structures import PADDING_SCORE, Detections, Proposals, Target, select

CANDIDATES_PER_DETECTION = (
    20  # that non-maximum suppression chooses from, where their number is fixed
)


class StageOutput(NamedTuple):
    """What one stage says of all regions of a batch."""

    logits: Tensor  # [R, C + 1]
    deltas: Tensor  # [R, 4 * K]
    boxes: Tensor  # [R, K, 4] the regions moved by the deltas, without gradient when training


@dataclass(frozen=True)
class RoIHeadsOptions:
    """Sampling, losses and selection of the second stage."""

    in_features: tuple[str, ...] = ("res4",)
    num_classes: int = 80
    box_reg_loss_type: str = "smooth_l1"
    box_reg_loss_weight: float = 1.0
    smooth_l1_beta: float = 0.0
    use_sigmoid_ce: bool = False
    use_fed_loss: bool = False
    fed_loss_num_cat: int = 50
    mult_proposal_score: bool = False
    batch_size_per_image: int = 512
    positive_fraction: float = 0.25
    proposal_append_gt: bool = True
    score_thresh: float = 0.05
    nms_thresh: float = 0.5
    detections_per_image: int = 100


@dataclass(frozen=True)
class CascadeOptions:
    """What differs from stage to stage."""

    ious: tuple[float, ...] = (0.5, 0.6, 0.7)
    bbox_reg_weights: tuple[tuple[float, ...], ...] = (
        (10.0, 10.0, 5.0, 5.0),
        (20.0, 20.0, 10.0, 10.0),
        (30.0, 30.0, 15.0, 15.0),
    )


@dataclass(frozen=True)
class OneStageOptions:
    """What stands for CascadeOptions where there is one stage only."""

    ious: tuple[float, ...] = (0.5,)
    iou_labels: tuple[int, ...] = (0, 1)
    bbox_reg_weights: tuple[float, ...] = (10.0, 10.0, 5.0, 5.0)


@dataclass(frozen=True)
class PoolerOptions:
    """Pooling of RoI features."""

    resolution: int = 14
    sampling_ratio: int = 0
    pooler_type: str = "ROIAlignV2"


class CascadeRoIHeads(nn.Module):
    """Box heads in a row, each refining the boxes of the one before; a Faster R-CNN head is a cascade of one.

    The score of a detection joins both stages of the detector: the root of the product of the class probability,
    averaged over the cascade, and of the first stage's objectness (section 3, eq. 1).

    Args:
        pooler: features of regions.
        stages: the box heads.
        mask_pooler, mask_head: features of regions for masks, and their network; None: no masks.
        in_features: names of the pyramid's levels to pool from.
        num_classes: without background.
        ious: overlap with an object from which a region is positive, per stage.
        bbox_reg_weights: of the four deltas, per stage.
        box_reg_loss_type, box_reg_loss_weight, smooth_l1_beta: "smooth_l1", "giou", "diou" or "ciou"; its weight; where
            the first turns from quadratic to linear.
        use_sigmoid_ce: classify by independent sigmoids rather than by one softmax.
        use_fed_loss, fed_loss_num_cat: the federated loss, and how many classes each step is judged on.
        mult_proposal_score: join the first stage's score.
        batch_size_per_image, positive_fraction, proposal_append_gt: sampling of regions when training.
        score_thresh, nms_thresh, detections_per_image: selection of detections.
    """

    def __init__(
        self,
        pooler: RoIPooler,
        stages: Sequence[BoxStage],
        mask_pooler: RoIPooler | None = None,
        mask_head: MaskHead | None = None,
        *,
        in_features: Sequence[str],
        num_classes: int,
        ious: Sequence[float],
        bbox_reg_weights: Sequence[Sequence[float]],
        box_reg_loss_type: str,
        box_reg_loss_weight: float,
        smooth_l1_beta: float,
        use_sigmoid_ce: bool,
        use_fed_loss: bool,
        fed_loss_num_cat: int,
        mult_proposal_score: bool,
        batch_size_per_image: int,
        positive_fraction: float,
        proposal_append_gt: bool,
        score_thresh: float,
        nms_thresh: float,
        detections_per_image: int,
    ) -> None:
        super().__init__()
        if box_reg_loss_type != "smooth_l1" and box_reg_loss_type not in BOX_IOU_LOSSES:
            known = ", ".join(["smooth_l1", *BOX_IOU_LOSSES])
            raise ValueError(
                f"MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE is '{box_reg_loss_type}'; choose one of {known}"
            )
        self.pooler = pooler
        self.stages = nn.ModuleList(stages)
        self.mask_pooler = mask_pooler
        self.mask_head = mask_head
        self.in_features = list(in_features)
        self.num_classes = num_classes
        self.ious = list(ious)
        self.bbox_reg_weights = [tuple(weights) for weights in bbox_reg_weights]
        self.box_reg_loss_type = box_reg_loss_type
        self.box_reg_loss_weight = box_reg_loss_weight
        self.smooth_l1_beta = smooth_l1_beta
        self.use_sigmoid_ce = use_sigmoid_ce
        self.use_fed_loss = use_fed_loss
        self.fed_loss_num_cat = fed_loss_num_cat
        self.mult_proposal_score = mult_proposal_score
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction
        self.proposal_append_gt = proposal_append_gt
        self.score_thresh = score_thresh
        self.nms_thresh = nms_thresh
        self.detections_per_image = detections_per_image
        self.static_shapes = False  # whether the number of candidates for detections is fixed
        self.generator: torch.Generator | None = (
            None  # source of the sampling's random numbers; None: torch's own
        )

    def forward(
        self,
        features: Mapping[str, Tensor],
        proposals: Sequence[Proposals],
        sizes: Sequence[Size],
        targets: Sequence[Target] | None = None,
    ) -> tuple[list[Detections], dict[str, Tensor]]:
        """Detections of every image; when training, losses instead.

        Args:
            features: {name: [N, channels, h, w]}.
            proposals: of each image.
            sizes: (height, width) of each image before padding.
            targets: ground truth, when training.
        """
        levels = [features[name] for name in self.in_features]
        if self.training and targets is not None:
            return [], self.losses(levels, proposals, sizes, targets)
        return self.detect(levels, proposals, sizes), {}

    def losses(
        self,
        levels: Sequence[Tensor],
        proposals: Sequence[Proposals],
        sizes: Sequence[Size],
        targets: Sequence[Target],
    ) -> dict[str, Tensor]:
        """The cascade's losses by name."""
        regions = [self._sample(p, t) for p, t in zip(proposals, targets, strict=True)]
        losses = self._mask_losses(levels, regions, targets)
        # all stages send gradients into the shared features: their sum should not grow with the stages
        levels = [ScaleGradient.apply(level, 1 / len(self.stages)) for level in levels]
        moved: Tensor | None = None
        for k in range(len(self.stages)):
            if moved is not None:
                refined = self._refine([r.boxes for r in regions], moved, sizes)
                regions = self._match(refined, [r.valid for r in regions], targets, k)
            output = self._run_stage(levels, [r.boxes for r in regions], k)
            moved = output.boxes
            suffix = f"_stage{k}" if len(self.stages) > 1 else ""
            losses |= {
                name + suffix: loss for name, loss in self._stage_losses(regions, output, k).items()
            }
        return losses

    @torch.no_grad()
    def detect(
        self, levels: Sequence[Tensor], proposals: Sequence[Proposals], sizes: Sequence[Size]
    ) -> list[Detections]:
        """Detections of every image, best first."""
        return self.with_masks(levels, self.find(levels, proposals, sizes), sizes)

    @torch.no_grad()
    def find(
        self, levels: Sequence[Tensor], proposals: Sequence[Proposals], sizes: Sequence[Size]
    ) -> list[Detections]:
        """Detections of every image, best first, without masks."""
        boxes, probabilities = self.classify(levels, proposals, sizes)
        scores = self.join_scores(probabilities, proposals)
        return [self.choose(b, s, size)[0] for b, s, size in zip(boxes, scores, sizes, strict=True)]

    def classify(
        self, levels: Sequence[Tensor], proposals: Sequence[Proposals], sizes: Sequence[Size]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """What the cascade makes of proposals, by image: boxes [R, K, 4] and class probabilities [R, C]."""
        counts = [len(p.boxes) for p in proposals]
        boxes = [p.boxes for p in proposals]
        moved = probabilities = levels[0].new_zeros(())
        for k in range(len(self.stages)):
            if k > 0:
                boxes = self._refine(boxes, moved, sizes)
            output = self._run_stage(levels, boxes, k)
            moved, logits = output.boxes, output.logits.float()
            probabilities = probabilities + (
                logits.sigmoid() if self.use_sigmoid_ce else logits.softmax(dim=1)
            )
        mean = probabilities[:, :-1] / len(self.stages)
        return list(torch.split(moved, counts)), list(torch.split(mean, counts))

    def join_scores(
        self, probabilities: Sequence[Tensor], proposals: Sequence[Proposals]
    ) -> list[Tensor]:
        """Scores [R, C] from class probabilities [R, C] and, where it is set so, the proposals' own."""
        if self.mult_proposal_score:  # rows of padding get no score, which none of them exceeds
            return [
                (p * own.scores[:, None]).sqrt()
                for p, own in zip(probabilities, proposals, strict=True)
            ]
        return [
            p.where(own.valid[:, None], 0.0)
            for p, own in zip(probabilities, proposals, strict=True)
        ]

    def _sample(self, proposals: Proposals, target: Target) -> Regions:
        if self.proposal_append_gt:
            proposals = append_ground_truth(proposals, target)
        regions = match(proposals.boxes, target, self.ious[0], self.num_classes)
        return sample(
            regions._replace(valid=proposals.valid),
            size=self.batch_size_per_image,
            positive_fraction=self.positive_fraction,
            num_classes=self.num_classes,
            generator=self.generator,
        )

    def _run_stage(self, levels: Sequence[Tensor], boxes: Sequence[Tensor], k: int) -> StageOutput:
        logits, deltas = self.stages[k](self.pooler(levels, boxes))
        moved = decode_deltas(torch.cat(list(boxes)), deltas.detach(), self.bbox_reg_weights[k])
        return StageOutput(logits, deltas, moved)

    def _refine(
        self, boxes: Sequence[Tensor], moved: Tensor, sizes: Sequence[Size]
    ) -> list[Tensor]:
        """The boxes [R_i, 4] that a stage has moved, as the next stage's regions."""
        parts = torch.split(
            moved[:, 0], [len(b) for b in boxes]
        )  # a cascade is class-agnostic: K is 1
        return [clip_boxes(part, size) for part, size in zip(parts, sizes, strict=True)]

    def _match(
        self, boxes: Sequence[Tensor], valid: Sequence[Tensor], targets: Sequence[Target], k: int
    ) -> list[Regions]:
        regions = []
        for b, v, target in zip(boxes, valid, targets, strict=True):
            regions.append(
                match(b, target, self.ious[k], self.num_classes)._replace(valid=v & nonempty(b))
            )
        return regions

    def _stage_losses(
        self, regions: Sequence[Regions], output: StageOutput, k: int
    ) -> dict[str, Tensor]:
        boxes, labels, matched, _, valid = (
            torch.cat(parts) for parts in zip(*regions, strict=True)
        )
        weights = valid.float()
        class_weights = None
        if self.use_fed_loss:
            class_weights = federated_classes(
                labels,
                valid,
                cast(Tensor, self.stages[k].class_weight),
                self.fed_loss_num_cat,
                generator=self.generator,
            )
        classification = (
            sigmoid_classification_loss if self.use_sigmoid_ce else softmax_classification_loss
        )
        positive = (labels < self.num_classes) & valid
        # background has no box to move onto; its own box keeps the arithmetic finite and its loss gets no weight
        unit = torch.cat([boxes.new_zeros(2), boxes.new_ones(2)])
        safe = torch.where(positive[:, None], boxes, unit)
        goal = torch.where(positive[:, None], matched, safe)
        deltas = self._deltas_of(output.deltas, labels)
        if self.box_reg_loss_type == "smooth_l1":
            target = encode_deltas(safe, goal, self.bbox_reg_weights[k])
            box_loss = box_regression_loss(deltas, target, self.smooth_l1_beta)
        else:
            moved = decode_deltas(safe, deltas, self.bbox_reg_weights[k])[:, 0]
            box_loss = BOX_IOU_LOSSES[self.box_reg_loss_type](moved, goal)
        # divided by all regions, not by the positives: every object then has the same influence
        box_loss = (box_loss * positive).sum() / weights.sum().clamp(min=1)
        return {
            "loss_cls": classification(output.logits, labels, weights, class_weights),
            "loss_box_reg": self.box_reg_loss_weight * box_loss,
        }

    def _mask_losses(
        self, levels: Sequence[Tensor], regions: Sequence[Regions], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """The loss of the masks of the positive regions that the first box stage is given too."""
        if self.mask_head is None:
            return {}
        limit = int(
            self.batch_size_per_image * self.positive_fraction
        )  # the positives come first, no more than these
        # on the CPU counting them stalls nothing, and saves the network's time
        if is_synchronous(levels[0].device) and not self.static_shapes:
            limit = max(int(((r.labels < self.num_classes) & r.valid).sum()) for r in regions)
        regions = [Regions(*(part[:limit] for part in region)) for region in regions]
        logits = self._mask_logits(levels, [region.boxes for region in regions])
        masks = [
            mask_targets(target["masks"], region.boxes, region.objects, logits.shape[-1])
            for region, target in zip(regions, targets, strict=True)
        ]
        labels = torch.cat([region.labels for region in regions])
        positive = (labels < self.num_classes) & torch.cat([region.valid for region in regions])
        return {"loss_mask": mask_loss(logits, torch.cat(masks), labels, positive)}

    def _mask_logits(
        self, levels: Sequence[Tensor], boxes: Sequence[Tensor]
    ) -> Tensor:  # [R, C or 1, M, M]
        pooled = cast(RoIPooler, self.mask_pooler)(levels, boxes)
        return cast(Tensor, cast(MaskHead, self.mask_head)(pooled))

    def with_masks(
        self, levels: Sequence[Tensor], detections: list[Detections], sizes: Sequence[Size]
    ) -> list[Detections]:
        """The detections with masks, where there is a mask head."""
        if self.mask_head is None:
            return detections
        masks = self.box_masks(levels, detections)
        return [
            {
                **found,
                "box_masks": part,
                "masks": paste_box_masks(part, found["boxes"], cast(tuple[int, int], size)),
            }
            for found, part, size in zip(detections, masks, sizes, strict=True)
        ]

    def box_masks(self, levels: Sequence[Tensor], detections: Sequence[Detections]) -> list[Tensor]:
        """Probabilities [D, M, M] of each image's objects in a grid over their boxes."""
        logits = self._mask_logits(levels, [found["boxes"] for found in detections])
        own = (
            masks_of_labels(logits, torch.cat([found["labels"] for found in detections]))
            .float()
            .sigmoid()
        )
        return list(torch.split(own, [len(found["boxes"]) for found in detections]))

    def _deltas_of(self, deltas: Tensor, labels: Tensor) -> Tensor:
        """The deltas [R, 4] of each region's class among [R, 4 * K]."""
        deltas = torch.unflatten(deltas, 1, (-1, 4))
        if deltas.shape[1] == 1:
            return deltas[:, 0]
        return deltas[
            torch.arange(len(labels), device=labels.device), labels.clamp(max=self.num_classes - 1)
        ]

    def choose(self, boxes: Tensor, scores: Tensor, size: Size) -> tuple[Detections, Tensor]:
        """The best detections of one image from boxes [R, K, 4] and scores [R, C], and the region [D] of each."""
        found, region = self.choose_padded(boxes, scores, size)
        rows = found["scores"] >= 0
        return select(found, rows), region[rows]

    def choose_padded(self, boxes: Tensor, scores: Tensor, size: Size) -> tuple[Detections, Tensor]:
        """The same in at most `detections_per_image` rows, of which those that are none score PADDING_SCORE."""
        finite = torch.isfinite(boxes).flatten(1).all(dim=1) & torch.isfinite(scores).all(dim=1)
        index = self._candidates(torch.where(finite[:, None], scores, PADDING_SCORE).flatten())
        score, order = scores.flatten()[index].sort(descending=True, stable=True)
        region, label = index[order] // scores.shape[1], index[order] % scores.shape[1]
        score = torch.where((score > self.score_thresh) & finite[region], score, PADDING_SCORE)
        candidates = clip_boxes(
            boxes[region, label if boxes.shape[1] > 1 else torch.zeros_like(label)], size
        )
        stays = nms_mask(candidates, score, label, self.nms_thresh, limit=self.detections_per_image)
        # those found in the padding of the image alone end as a line at its border, and take a place all the same
        rows = torch.argsort(~stays, stable=True)[: self.detections_per_image]
        stays = stays[rows] & nonempty(candidates[rows])
        score = torch.where(stays, score[rows], PADDING_SCORE)
        return {"boxes": candidates[rows], "scores": score, "labels": label[rows]}, region[rows]

    def _candidates(self, scores: Tensor) -> Tensor:
        """Indices [K] of the scores above the threshold, rising; with static shapes of so many of the best ones."""
        if not self.static_shapes:
            return (scores > self.score_thresh).nonzero().squeeze(1)
        count = min(len(scores), CANDIDATES_PER_DETECTION * self.detections_per_image)
        return scores.topk(count).indices.sort().values
