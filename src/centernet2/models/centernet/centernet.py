"""CenterNet as a first stage: where objects are and how likely (arXiv 2103.07461, section 4.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from centernet2 import distributed
from centernet2.models.centernet.decode import (
    keep_local_maxima,
    select_candidates,
    split_images,
    suppress,
)
from centernet2.models.centernet.head import CenterNetHead, HeadOutput
from centernet2.models.centernet.targets import (
    Neighbors,
    Objects,
    Positives,
    center_positives,
    find_neighbors,
    gather_objects,
    heatmap_targets,
    make_levels,
    more_positives,
    object_radii,
    regression_targets,
)
from centernet2.ops.boxes import Size
from centernet2.ops.constants import constant
from centernet2.ops.losses import heatmap_focal_loss, ltrb_iou_loss
from centernet2.structures import PADDING_SCORE, Proposals, Target


class StageTargets(NamedTuple):
    """What the stage should predict at the M locations of a batch."""

    positives: Positives
    ltrb: Tensor  # [M, 4] in units of the stride; negative where nothing is to be regressed
    heatmap: Tensor  # [M, C] in 0..1, [M, 1] without classes


@dataclass(frozen=True)
class CenterNetOptions:
    """Targets, losses and decoding of the first stage."""

    in_features: tuple[str, ...] = ("p3", "p4", "p5", "p6", "p7")
    strides: tuple[int, ...] = (8, 16, 32, 64, 128)
    sizes_of_interest: tuple[tuple[float, ...], ...] = (
        (0, 80),
        (64, 160),
        (128, 320),
        (256, 640),
        (512, 10000000),
    )
    hm_min_overlap: float = 0.8
    min_radius: float = 4
    hm_focal_alpha: float = 0.25
    hm_focal_beta: float = 4
    loss_gamma: float = 2.0
    sigmoid_clamp: float = 0.0001
    ignore_high_fp: float = -1.0
    loc_loss_type: str = "giou"
    pos_weight: float = 1.0
    neg_weight: float = 1.0
    reg_weight: float = 2.0
    not_norm_reg: bool = True
    no_reduce: bool = False
    more_pos: bool = False
    more_pos_thresh: float = 0.2
    more_pos_topk: int = 9
    not_clamp_box: bool = False
    as_proposal: bool = False
    score_thresh: float = 0.05
    center_nms: bool = False
    not_nms: bool = False
    pre_nms_topk_train: int = 1000
    pre_nms_topk_test: int = 1000
    post_nms_topk_train: int = 100
    post_nms_topk_test: int = 100
    nms_thresh_train: float = 0.6
    nms_thresh_test: float = 0.6


class CenterNetOutput(NamedTuple):
    """What the stage computes for a batch of images."""

    proposals: list[Proposals]  # of each image
    losses: dict[str, Tensor]  # when training
    head: HeadOutput | None  # what the proposals were decoded from; None when training


class CenterNet(nn.Module):
    """A dense detector whose heat map estimates the probability that an object is centred at a location.

    It needs nothing but a feature pyramid, and serves as a one-stage detector or, in place of a region proposal
    network, as the first stage of any two-stage one.

    Args:
        head: the predictions' network.
        in_features, strides, sizes_of_interest: names of the pyramid's levels, their strides, and the range of half an
            object's diagonal in pixels that each is responsible for.
        hm_min_overlap, min_radius: a peak of the heat map is as wide as a box can move and still overlap by so much,
            and no narrower than so many pixels.
        hm_focal_alpha, hm_focal_beta, loss_gamma, sigmoid_clamp, ignore_high_fp: see ops.losses.heatmap_focal_loss.
        loc_loss_type: see ops.losses.ltrb_iou_loss.
        pos_weight, neg_weight, reg_weight: weights of the three losses.
        not_norm_reg: weigh all regressed locations alike rather than by the heat map.
        no_reduce: normalise by this process's positives rather than by the mean over processes.
        more_pos, more_pos_thresh, more_pos_topk: let well predicted neighbours of a centre be positives.
        not_clamp_box: boxes may reach over the border of the image; centres outside are moved onto it.
        as_proposal: use the class scores as proposals.
        score_thresh, center_nms, not_nms: candidates score above the threshold; keep only local maxima of the heat map;
            remove no overlapping boxes.
        pre_nms_topk_train, ..., nms_thresh_test: candidates per level before and proposals per image after the
            removal of overlapping boxes, and the overlap allowed, in training and otherwise.
    """

    def __init__(
        self,
        head: CenterNetHead,
        *,
        in_features: Sequence[str],
        strides: Sequence[int],
        sizes_of_interest: Sequence[tuple[float, float]],
        hm_min_overlap: float,
        min_radius: float,
        hm_focal_alpha: float,
        hm_focal_beta: float,
        loss_gamma: float,
        sigmoid_clamp: float,
        ignore_high_fp: float,
        loc_loss_type: str,
        pos_weight: float,
        neg_weight: float,
        reg_weight: float,
        not_norm_reg: bool,
        no_reduce: bool,
        more_pos: bool,
        more_pos_thresh: float,
        more_pos_topk: int,
        not_clamp_box: bool,
        as_proposal: bool,
        score_thresh: float,
        center_nms: bool,
        not_nms: bool,
        pre_nms_topk_train: int,
        pre_nms_topk_test: int,
        post_nms_topk_train: int,
        post_nms_topk_test: int,
        nms_thresh_train: float,
        nms_thresh_test: float,
    ) -> None:
        super().__init__()
        _require_one_per_level(in_features, strides, sizes_of_interest)
        self.head = head
        self.in_features, self.strides = list(in_features), list(strides)
        self.sizes_of_interest = [(float(low), float(high)) for low, high in sizes_of_interest]
        self.hm_min_overlap, self.min_radius = hm_min_overlap, min_radius
        self.focal_options = {
            "alpha": hm_focal_alpha,
            "beta": hm_focal_beta,
            "gamma": loss_gamma,
            "sigmoid_clamp": sigmoid_clamp,
            "ignore_high_fp": ignore_high_fp,
        }
        self.loc_loss_type = loc_loss_type
        self.pos_weight, self.neg_weight, self.reg_weight = pos_weight, neg_weight, reg_weight
        self.not_norm_reg, self.no_reduce = not_norm_reg, no_reduce
        self.more_pos, self.more_pos_thresh, self.more_pos_topk = (
            more_pos,
            more_pos_thresh,
            more_pos_topk,
        )
        self.not_clamp_box = not_clamp_box
        self.as_proposal = as_proposal
        self.score_thresh = score_thresh
        self.center_nms = center_nms
        self.suppresses = not (not_nms or center_nms)
        self.pre_nms_topk = {True: pre_nms_topk_train, False: pre_nms_topk_test}
        self.post_nms_topk = {True: post_nms_topk_train, False: post_nms_topk_test}
        self.nms_thresh = {True: nms_thresh_train, False: nms_thresh_test}

    def forward(
        self,
        features: Mapping[str, Tensor],
        sizes: Sequence[Size],
        targets: Sequence[Target] | None = None,
        *,
        padded: bool = False,
    ) -> CenterNetOutput:
        """Proposals of every image, and when training, losses.

        Args:
            features: {name: [N, channels, h, w]}.
            sizes: (height, width) of each image before padding.
            targets: ground truth, when training.
            padded: see `propose`.
        """
        output = self.head([features[name] for name in self.in_features])
        losses: dict[str, Tensor] = {}
        if self.training and targets is not None:
            losses = self.losses(output, self.make_targets(output.ltrb, sizes, targets))
        if self.training and not (self.head.only_proposal or self.as_proposal):
            return CenterNetOutput([], losses, None)
        proposals = self.propose(output, padded=padded)
        return CenterNetOutput(proposals, losses, None if self.training else output)

    @torch.no_grad()
    def propose(
        self, output: HeadOutput, *, limit: int | None = None, padded: bool = False
    ) -> list[Proposals]:
        """Boxes of every image from the head's output.

        Args:
            limit: at most so many, and those that tie with the last; default: as many as the stage is set to.
            padded: give every image the same number of rows, known beforehand, so that nothing waits for the device.
                In training no proposal is cut off for it: the rows are those of all candidates.
        """
        heatmaps = output.object_logits if self.head.only_proposal else output.class_logits
        factors = None if self.head.only_proposal else output.object_logits
        if heatmaps is None:
            raise ValueError(
                "the head predicts neither classes nor objectness: there is nothing to propose"
            )
        levels = []
        for level, stride in enumerate(self.strides):
            heatmap = heatmaps[level].float().sigmoid()
            candidates = select_candidates(
                keep_local_maxima(heatmap) if self.center_nms else heatmap,
                factors[level].float().sigmoid() if factors else None,
                output.ltrb[level],
                stride,
                score_thresh=self.score_thresh,
                topk=self.pre_nms_topk[self.training],
            )
            if (
                self.head.with_agn_hm
            ):  # before sorting: scores that the root makes equal stay in their order
                joined = candidates.scores.clamp(min=0).sqrt()
                candidates = candidates._replace(
                    scores=torch.where(candidates.scores >= 0, joined, PADDING_SCORE)
                )
            levels.append(candidates)
        topk = self.post_nms_topk[self.training] if limit is None else limit
        batch = suppress(
            levels, nms_thresh=self.nms_thresh[self.training] if self.suppresses else 0.0, topk=topk
        )
        rows = batch.scores.shape[1] if self.training else min(topk, batch.scores.shape[1])
        return split_images(batch, rows if padded else None)

    @torch.no_grad()
    def make_targets(
        self, ltrb: Sequence[Tensor], sizes: Sequence[Size], targets: Sequence[Target]
    ) -> StageTargets:
        """Ground truth for predictions ltrb [N, 4, h, w] per level."""
        shapes = [(x.shape[2], x.shape[3]) for x in ltrb]
        levels = make_levels(shapes, self.strides, self.sizes_of_interest, len(sizes))
        objects = gather_objects(targets, ltrb[0].device)
        neighbors = find_neighbors(objects, levels)
        radius = object_radii(objects.boxes, self.hm_min_overlap, self.min_radius)
        num_locations = sum(len(sizes) * h * w for h, w in shapes)
        if self.more_pos:
            positives = self._find_more_positives(objects, neighbors, _flatten(ltrb))
        elif self.not_clamp_box:
            image_sizes = _width_height(sizes, radius)[objects.images]  # [G, 2]
            positives = center_positives(objects, find_neighbors(objects, levels, image_sizes))
        else:
            positives = center_positives(objects, neighbors)
        num_classes = None if self.head.only_proposal else self.head.num_classes
        return StageTargets(
            positives,
            regression_targets(objects, neighbors, levels, num_locations, radius),
            heatmap_targets(objects, levels, len(sizes), num_classes, radius),
        )

    def losses(self, output: HeadOutput, targets: StageTargets) -> dict[str, Tensor]:
        """The stage's losses by name."""
        index, labels, valid = targets.positives
        num_positives = self._mean_over_processes(valid.sum().float())
        losses = {}
        if output.class_logits is not None:
            logits = _flatten(output.class_logits)  # [M, C]
            positive, negative = heatmap_focal_loss(
                logits,
                targets.heatmap,
                index * logits.shape[1] + labels,
                valid,
                **self.focal_options,
            )
            losses["loss_centernet_pos"] = self.pos_weight * positive / num_positives
            losses["loss_centernet_neg"] = self.neg_weight * negative / num_positives
        losses["loss_centernet_loc"] = self.reg_weight * self._localization_loss(
            _flatten(output.ltrb), targets
        )
        if output.object_logits is not None:
            objectness = targets.heatmap.amax(dim=1, keepdim=True)  # [M, 1]
            positive, negative = heatmap_focal_loss(
                _flatten(output.object_logits), objectness, index, valid, **self.focal_options
            )
            losses["loss_centernet_agn_pos"] = self.pos_weight * positive / num_positives
            losses["loss_centernet_agn_neg"] = self.neg_weight * negative / num_positives
        return losses

    def _localization_loss(self, prediction: Tensor, targets: StageTargets) -> Tensor:
        regressed = targets.ltrb.amax(dim=1) >= 0  # [M]
        weight = regressed.float() if self.not_norm_reg else regressed * targets.heatmap.amax(dim=1)
        target = torch.where(
            regressed[:, None], targets.ltrb, 1.0
        )  # any valid box: its loss has no weight
        loss = ltrb_iou_loss(prediction, target, self.loc_loss_type)
        return (loss * weight).sum() / self._mean_over_processes(weight.sum())

    def _find_more_positives(
        self, objects: Objects, neighbors: Neighbors, ltrb: Tensor
    ) -> Positives:
        strides = constant(self.strides, neighbors.ltrb)[:, None, None]  # [L, 1, 1]
        fit = (neighbors.ltrb / strides).clamp(min=0).flatten(0, 2)
        loss = ltrb_iou_loss(ltrb[neighbors.locations.flatten()], fit, self.loc_loss_type)
        return more_positives(
            objects,
            neighbors,
            loss.view(neighbors.locations.shape),
            threshold=self.more_pos_thresh,
            topk=self.more_pos_topk,
        )

    def _mean_over_processes(self, count: Tensor) -> Tensor:
        return (count if self.no_reduce else distributed.reduce_mean(count)).clamp(min=1)


def _flatten(levels: Sequence[Tensor]) -> Tensor:
    """Maps [N, K, h, w] per level -> [M, K]: level by level, image by image, row by row."""
    return torch.cat([x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]) for x in levels])


def _width_height(sizes: Sequence[Size], like: Tensor) -> Tensor:  # [N, 2]
    if isinstance(sizes[0], Tensor):
        return torch.stack([cast(Tensor, size).flip(0) for size in sizes]).to(like.dtype)
    return constant([(w, h) for h, w in cast(Sequence[tuple[int, int]], sizes)], like)


def _require_one_per_level(
    in_features: Sequence[str],
    strides: Sequence[int],
    sizes_of_interest: Sequence[tuple[float, float]],
) -> None:
    if not len(in_features) == len(strides) == len(sizes_of_interest):
        raise ValueError(
            f"MODEL.CENTERNET has {len(in_features)} IN_FEATURES, {len(strides)} FPN_STRIDES and "
            f"{len(sizes_of_interest)} SOI; give one of each per level"
        )
