"""Boxes that are hard cases for NMS."""

import torch
from torch import Tensor
from torchvision.ops import batched_nms


def crowd(count: int, *, classes: int = 1, ties: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes [R, 4], scores and labels [R], best first, of high IoU; some are empty.

    In whole numbers, so that IoUs meet thresholds exactly.
    """
    random = torch.Generator().manual_seed(count)
    low = torch.randint(0, 60, (count, 2), generator=random)
    extent = torch.randint(0, 40, (count, 2), generator=random)
    scores = torch.rand(count, generator=random)
    if ties:
        scores = (scores * 10).round() / 10
    scores = scores.sort(descending=True, stable=True).values
    return (
        torch.cat([low, low + extent], 1).float(),
        scores,
        torch.randint(classes, (count,), generator=random),
    )


def kept(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    return torch.zeros(len(boxes), dtype=torch.bool).index_fill(
        0, batched_nms(boxes, scores, labels, threshold), True
    )
