"""From heat maps and box distances to boxes."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from centernet2.ops.boxes import ltrb_to_boxes
from centernet2.ops.nms import nms_per_class
from centernet2.structures import Proposals

MIN_BOX_SIZE = 0.01  # pixels


class Candidates(NamedTuple):
    """The best locations of one level: K per image."""

    boxes: Tensor  # [N, K, 4]
    scores: Tensor  # [N, K]
    labels: Tensor  # [N, K]
    valid: Tensor  # [N, K] bool: above the score threshold


def level_points(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """Centres [H * W, 2] (x, y) of a level's cells in pixels of the model's input."""
    y = torch.arange(height, device=device, dtype=torch.float32) * stride + stride // 2
    x = torch.arange(width, device=device, dtype=torch.float32) * stride + stride // 2
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)


def keep_local_maxima(heatmap: Tensor) -> Tensor:
    """The heat map [N, C, H, W] with every score that a neighbour of its class exceeds set to 0."""
    highest = torch.nn.functional.max_pool2d(heatmap, 3, stride=1, padding=1)
    return torch.where(heatmap == highest, heatmap, 0.0)


def select_candidates(
    heatmap: Tensor, factor: Tensor | None, ltrb: Tensor, stride: int, *, score_thresh: float, topk: int
) -> Candidates:
    """The best scores of one level with their boxes.

    Args:
        heatmap: [N, C, H, W] probabilities.
        factor: [N, 1, H, W] probabilities that multiply them, after the threshold has been applied.
        ltrb: [N, 4, H, W] distances in units of the stride.
        stride: of the level.
        score_thresh: scores up to it are no candidates.
        topk: at most so many per image.
    """
    n, channels, height, width = heatmap.shape
    above = heatmap > score_thresh
    scores = heatmap if factor is None else heatmap * factor
    scores = torch.where(above, scores, -1.0).permute(0, 2, 3, 1).reshape(n, -1)  # [N, H * W * C]
    best, index = scores.topk(min(topk, scores.shape[1]), dim=1, sorted=False)  # [N, K]
    location = index // channels  # [N, K]
    points = level_points(height, width, stride, heatmap.device)[location]  # [N, K, 2]
    distances = ltrb.flatten(2).transpose(1, 2).gather(1, location[:, :, None].expand(-1, -1, 4))  # [N, K, 4]
    boxes = ltrb_to_boxes(points, distances.float() * stride)
    boxes = torch.cat([boxes[..., :2], torch.max(boxes[..., 2:], boxes[..., :2] + MIN_BOX_SIZE)], dim=-1)
    return Candidates(boxes, best, index % channels, best >= 0)


def suppress(levels: Sequence[Candidates], *, nms_thresh: float, topk: int) -> list[Proposals]:
    """Merges the levels of each image, removes overlapping boxes and keeps the `topk` best.

    A threshold of 0 or below removes nothing. Boxes that tie with the last one stay as well: flat parts of an image
    have equal scores, and which of them a sort puts first says nothing.
    """
    boxes, scores, labels, valid = (torch.cat(parts, dim=1) for parts in zip(*levels, strict=True))
    proposals = []
    for image in range(len(boxes)):
        mask = valid[image]
        candidates = Proposals(boxes[image][mask], scores[image][mask], labels[image][mask])
        keep = nms_per_class(*candidates, nms_thresh) if nms_thresh > 0 else candidates.scores.argsort(descending=True)
        best = candidates.scores[keep]
        if len(best) > topk:
            keep = keep[best >= best[topk - 1]]
        proposals.append(Proposals(*(part[keep] for part in candidates)))
    return proposals
