"""Sampling of RoIs for the training of the second stage, and their targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from centernet2.ops.boxes import pairwise_iou
from centernet2.structures import Proposals, Target, certain_objects


@dataclass(frozen=True)
class SamplerOptions:
    """Sampling of RoIs in training."""

    batch_size_per_image: int = 512
    positive_fraction: float = 0.25  # the largest share of positives
    append_ground_truth: bool = True  # ground-truth boxes are RoIs too


class RoIs(NamedTuple):
    """RoIs of one image with their targets."""

    boxes: Tensor  # [R, 4]
    labels: Tensor  # [R] in 0..C, C for background
    targets: Tensor  # [R, 4] box of the object of highest IoU; unused for background
    objects: Tensor  # [R] row of that object in the image's ground truth
    valid: Tensor  # [R] bool: the others are padding


class RoISampler:
    """Sampler of the RoIs of an image for training (arXiv 1506.01497)."""

    def __init__(self, options: SamplerOptions = SamplerOptions()) -> None:
        self.options = options

    @property
    def max_positives(self) -> int:
        """Maximum number of positive RoIs of an image; positives come first."""
        return int(self.options.batch_size_per_image * self.options.positive_fraction)

    def __call__(
        self,
        proposals: Proposals,
        target: Target,
        *,
        min_iou: float,
        num_classes: int,
        generator: torch.Generator | None,
    ) -> RoIs:
        """Sample RoIs from the proposals and, optionally, the ground-truth boxes."""
        if self.options.append_ground_truth:
            proposals = append_ground_truth(proposals, target)
        return sample(
            match(proposals.boxes, proposals.valid, target, min_iou, num_classes),
            size=self.options.batch_size_per_image,
            max_positives=self.max_positives,
            num_classes=num_classes,
            generator=generator,
        )


def match(boxes: Tensor, valid: Tensor, target: Target, min_iou: float, num_classes: int) -> RoIs:
    """Assign the object of highest IoU to boxes [R, 4]; background below `min_iou`.

    Uncertain objects are assigned to none.
    """
    if not len(target["boxes"]):
        background = torch.full((len(boxes),), num_classes, device=boxes.device)
        return RoIs(boxes, background, boxes, torch.zeros_like(background), valid)
    iou = pairwise_iou(target["boxes"], boxes)  # [G, R]
    if "valid" in target or "uncertain" in target:  # otherwise all are certain
        iou = torch.where(certain_objects(target)[:, None], iou, -1.0)
    highest, index = iou.max(dim=0)  # [R]
    labels = torch.where(highest >= min_iou, target["labels"][index], num_classes)
    return RoIs(boxes, labels, target["boxes"][index], index, valid)


def append_ground_truth(proposals: Proposals, target: Target) -> Proposals:
    """Append the ground-truth boxes to the proposals: R + G rows.

    An untrained first stage proposes hardly any positives.
    """
    boxes, labels = target["boxes"].to(proposals.boxes), target["labels"]
    scores = torch.ones_like(boxes[:, 0]).to(proposals.scores)
    objects = Proposals(boxes, scores, labels, certain_objects(target))
    return Proposals(*(torch.cat(columns) for columns in zip(proposals, objects, strict=True)))


def sample(
    rois: RoIs,
    *,
    size: int,
    max_positives: int,
    num_classes: int,
    generator: torch.Generator | None,
) -> RoIs:
    """Draw up to `size` random RoIs, positives first, with up to `max_positives`.

    The number of rows is fixed, the smaller of `size` and R: if there are too few negatives, rows
    are invalid.
    """
    draw = torch.rand(len(rois.labels), generator=generator, device=rois.labels.device)
    positive = (rois.labels < num_classes) & rois.valid
    rank = torch.where(positive, draw, -1.0).argsort(descending=True).argsort()
    chosen = positive & (rank < max_positives)
    negative = ~positive & rois.valid
    key = torch.where(chosen, draw + 1, torch.where(negative, draw, -1.0))
    best, index = key.topk(min(size, len(key)))
    return RoIs(*(column[index] for column in rois))._replace(valid=best >= 0)


def unknown_classes(
    rois: Sequence[RoIs], targets: Sequence[Target], min_iou: float, num_classes: int
) -> Tensor | None:
    """Return the classes [R, C] that each RoI may be of; None: all are known.

    They are those that were not labelled in its image, and those of uncertain objects that it would
    be assigned to.
    """
    if not any("unknown" in target or "uncertain" in target for target in targets):
        return None
    pairs = zip(rois, targets, strict=True)
    return torch.cat([_unknown_in_image(r, t, min_iou, num_classes) for r, t in pairs])


def _unknown_in_image(rois: RoIs, target: Target, min_iou: float, num_classes: int) -> Tensor:
    unknown = rois.valid.new_zeros(len(rois.boxes), num_classes)  # [R, C]
    if "unknown" in target:
        unknown = unknown | target["unknown"]
    if "uncertain" in target:
        near = pairwise_iou(rois.boxes, target["boxes"]) >= min_iou  # [R, G]
        perhaps = F.one_hot(target["labels"], num_classes) * target["uncertain"][:, None]  # [G, C]
        unknown = unknown | (near.float() @ perhaps.float() > 0)
    return unknown


def join(rois: Sequence[RoIs]) -> RoIs:
    """Concatenate the RoIs of all images; `objects` are still rows within each image."""
    return RoIs(*(torch.cat(columns) for columns in zip(*rois, strict=True)))
