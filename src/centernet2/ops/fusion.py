"""Weighted boxes fusion of the detections of several models (arXiv 1910.13302)."""

import torch
from torch import Tensor

from centernet2.ops.boxes import pairwise_iou


def weighted_box_fusion(
    boxes: Tensor, scores: Tensor, labels: Tensor, *, iou_threshold: float, num_models: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Fuse detections of several models: boxes [F, 4], scores [F] and labels [F].

    In order of score, a box joins the fused box of its class with the highest IoU, if that exceeds
    the threshold. A fused box is the mean of its boxes, weighted by their scores. A fused score is
    the mean of the scores, reduced if not all models have detected the object.

    The host computes: clusters grow one box after the other, in float64, which some devices lack.

    Args:
        boxes, scores, labels: [R, 4], [R], [R] of all models together.
    """
    own_boxes, own_scores, own_labels = (x.cpu().double() for x in (boxes, scores, labels))
    fused = [own_boxes.new_zeros(0, 7)]  # [F, 7] box, sum of scores, number of boxes, label
    for label in torch.unique(own_labels):
        rows = (own_labels == label).nonzero()[:, 0]
        rows = rows[own_scores[rows].argsort(descending=True, stable=True)]
        members = _clusters(own_boxes[rows], own_scores[rows], iou_threshold)
        fused.append(torch.cat([members, label.expand(len(members), 1)], dim=1))
    table = torch.cat(fused)
    means = table[:, 4] / table[:, 5].clamp(min=1) * table[:, 5].clamp(max=num_models) / num_models
    order = means.argsort(descending=True, stable=True)
    table, means = table[order], means[order]
    return table[:, :4].to(boxes), means.to(scores), table[:, 6].to(labels)


def _clusters(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:  # [F, 6]
    """Cluster boxes [R, 4] with scores [R] of one class, best first.

    Returns:
        [F, 6] fused box, sum of scores, number of boxes.
    """
    sums, fused = torch.zeros(len(boxes), 6, dtype=boxes.dtype), torch.zeros_like(boxes)
    count = 0
    for box, score in zip(boxes, scores, strict=True):
        row = count
        if count:
            iou, index = pairwise_iou(box[None], fused[:count])[0].max(dim=0)
            row = int(index) if iou > iou_threshold else count
        sums[row, :4] += score * box
        sums[row, 4] += score
        sums[row, 5] += 1
        fused[row] = sums[row, :4] / sums[row, 4]
        count = max(count, row + 1)
    return torch.cat([fused[:count], sums[:count, 4:]], dim=1)
