"""Which proposals the second stage learns from, and what it should say of them."""

from typing import NamedTuple

import torch
from torch import Tensor

from centernet2.ops.boxes import pairwise_iou
from centernet2.structures import PADDING_COORDINATE, PADDING_SCORE, Proposals, Target


class Regions(NamedTuple):
    """Regions of one image with what they should be classified as."""

    boxes: Tensor  # [R, 4]
    labels: Tensor  # [R] in 0..C, C for background
    targets: Tensor  # [R, 4] the object that each overlaps most; of no meaning for background
    objects: Tensor  # [R] its index in the image's ground truth
    valid: Tensor  # [R] bool: the others are padding


def match(boxes: Tensor, target: Target, iou_threshold: float, num_classes: int) -> Regions:
    """Labels boxes [R, 4] with the object that they overlap most, background below the threshold."""
    if not len(target["boxes"]):
        background = torch.full((len(boxes),), num_classes, device=boxes.device)
        everything = torch.ones_like(background, dtype=torch.bool)
        return Regions(boxes, background, boxes, torch.zeros_like(background), everything)
    overlap, index = pairwise_iou(target["boxes"], boxes).max(dim=0)  # [R]
    labels = torch.where(overlap >= iou_threshold, target["labels"][index], num_classes)
    return Regions(
        boxes, labels, target["boxes"][index], index, torch.ones_like(index, dtype=torch.bool)
    )


def append_ground_truth(proposals: Proposals, target: Target) -> Proposals:
    """R + G proposals: the objects' own boxes as well, so that an untrained first stage finds some positives."""
    boxes = target["boxes"].to(proposals.boxes)
    valid = boxes[:, 0] > PADDING_COORDINATE
    scores = torch.where(valid, 1.0, PADDING_SCORE)
    parts = (boxes, scores.to(proposals.scores), target["labels"], valid)
    return Proposals(
        *(torch.cat([own, added]) for own, added in zip(proposals, parts, strict=True))
    )


def sample(
    regions: Regions,
    *,
    size: int,
    positive_fraction: float,
    num_classes: int,
    generator: torch.Generator | None,
) -> Regions:
    """At most `size` random regions, at most a `positive_fraction` of them positive.

    Positives come first. The number of rows is known beforehand (the smaller of `size` and R); missing negatives leave
    invalid rows.
    """
    draw = torch.rand(len(regions.labels), generator=generator, device=regions.labels.device)
    positive = (regions.labels < num_classes) & regions.valid
    rank = (
        torch.where(positive, draw, -1.0).argsort(descending=True).argsort()
    )  # positives come first
    chosen_positive = positive & (rank < int(size * positive_fraction))
    negative = ~positive & regions.valid
    key = torch.where(chosen_positive, draw + 1, torch.where(negative, draw, -1.0))
    best, index = key.topk(min(size, len(key)))
    return Regions(*(part[index] for part in regions))._replace(valid=best >= 0)
