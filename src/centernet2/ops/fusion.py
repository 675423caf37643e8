"""Weighted box fusion: one box from the boxes of several models (arXiv 1910.13302)."""

import torch
from torch import Tensor

from centernet2.ops.boxes import pairwise_iou


def weighted_box_fusion(
    boxes: Tensor, scores: Tensor, labels: Tensor, *, iou_threshold: float, num_models: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Fused boxes [F, 4], scores [F] and labels [F] of boxes [R, 4], scores [R] and labels [R] that models have found.

    Boxes of a class that overlap a fused box by more than the threshold are averaged, weighted by their scores, the
    best first. A score is the mean of those that were fused, less where fewer than all models have found the object.
    """
    fused: list[Tensor] = []
    for label in torch.unique(labels):
        rows = (labels == label).nonzero()[:, 0]
        rows = rows[scores[rows].argsort(descending=True, stable=True)]
        members = _clusters(boxes[rows].double().cpu(), scores[rows].double().cpu(), iou_threshold)
        fused.append(torch.cat([members, label.double().cpu().expand(len(members), 1)], dim=1))
    table = torch.cat(
        [*fused, boxes.new_zeros(0, 7).double().cpu()]
    )  # [F, 7] box, sum of scores, members, label
    means = table[:, 4] / table[:, 5].clamp(min=1) * table[:, 5].clamp(max=num_models) / num_models
    order = means.argsort(descending=True, stable=True)
    table, means = table[order].to(boxes.device), means[order].to(boxes.device)
    return table[:, :4].to(boxes), means.to(scores), table[:, 6].to(labels)


def _clusters(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:  # [F, 6]
    """Fused box, sum of scores and number of members of each object among boxes [R, 4] of one class, best first."""
    sums, fused = torch.zeros(len(boxes), 6, dtype=boxes.dtype), torch.zeros_like(boxes)
    count = 0
    for box, score in zip(boxes, scores, strict=True):
        place = count
        if count:
            overlap, index = pairwise_iou(box[None], fused[:count])[0].max(dim=0)
            place = int(index) if overlap > iou_threshold else count
        sums[place, :4] += score * box
        sums[place, 4] += score
        sums[place, 5] += 1
        fused[place] = sums[place, :4] / sums[place, 4]
        count = max(count, place + 1)
    return torch.cat([fused[:count], sums[:count, 4:]], dim=1)
