"""From heat maps and box distances to boxes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from centernet2.kernels.operators import nms_mask
from centernet2.models.centernet.head import HeadOutput
from centernet2.ops.boxes import ltrb_to_boxes
from centernet2.structures import PADDING_SCORE, Proposals

MIN_BOX_SIZE = 0.01  # pixels


@dataclass(frozen=True)
class ProposalLimits:
    """How many proposals there are, and how much they may overlap."""

    pre_nms_topk: int = 1000  # candidates per level
    post_nms_topk: int = 100  # proposals per image
    nms_threshold: float = 0.6  # IoU


@dataclass(frozen=True)
class DecoderOptions:
    """From heat maps to proposals."""

    score_threshold: float = 0.05
    center_nms: bool = False  # keep local maxima of the heat map, instead of NMS of boxes
    nms: bool = True
    training: ProposalLimits = field(default_factory=ProposalLimits)
    inference: ProposalLimits = field(default_factory=ProposalLimits)


class Decoder(nn.Module):
    """The best boxes of all levels after NMS.

    Args:
        strides: of the levels, finest first.
        options: scores, numbers and IoU of proposals.
    """

    def __init__(self, strides: Sequence[int], options: DecoderOptions = DecoderOptions()) -> None:
        super().__init__()
        self.strides = list(strides)
        self.options = options

    @torch.no_grad()
    def forward(
        self, output: HeadOutput, *, limit: int | None = None, padded: bool = False
    ) -> list[Proposals]:
        """Return the proposals of every image, best first.

        Args:
            output: raw predictions.
            limit: at most so many proposals, and those that tie with the last; default: post_nms_topk.
            padded: give every image a number of rows that is known beforehand, so that nothing waits
                for the device. In training no proposal is cut off for it: there are as many rows as
                candidates.
        """
        limits = self.options.training if self.training else self.options.inference
        topk = limits.post_nms_topk if limit is None else limit
        threshold = limits.nms_threshold if self._removes_boxes else 0.0
        batch = suppress(self._candidates(output, limits), nms_thresh=threshold, topk=topk)
        rows = batch.scores.shape[1] if self.training else min(topk, batch.scores.shape[1])
        return split_images(batch, rows if padded else None)

    @property
    def _removes_boxes(self) -> bool:
        return self.options.nms and not self.options.center_nms

    def _candidates(self, output: HeadOutput, limits: ProposalLimits) -> list["Candidates"]:
        """The best locations of each level."""
        objects = output.object_logits
        heatmaps, factors = (
            (objects, None) if output.class_logits is None else (output.class_logits, objects)
        )
        if heatmaps is None:
            raise ValueError("the head predicts neither classes nor objectness")
        levels = []
        for level, stride in enumerate(self.strides):
            heatmap = heatmaps[level].float().sigmoid()
            candidates = select_candidates(
                keep_local_maxima(heatmap) if self.options.center_nms else heatmap,
                factors[level].float().sigmoid() if factors else None,
                output.ltrb[level],
                stride,
                score_thresh=self.options.score_threshold,
                topk=limits.pre_nms_topk,
            )
            # before sorting: scores that the root makes equal stay in their order
            levels.append(_take_root(candidates) if objects else candidates)
        return levels


def _take_root(candidates: "Candidates") -> "Candidates":
    root = candidates.scores.clamp(min=0).sqrt()
    return candidates._replace(scores=torch.where(candidates.scores >= 0, root, PADDING_SCORE))


class Candidates(NamedTuple):
    """The best locations of one level: K per image."""

    boxes: Tensor  # [N, K, 4]
    scores: Tensor  # [N, K]; PADDING_SCORE where no more locations are above the score threshold
    labels: Tensor  # [N, K]
    channels: int  # of the heat map: classes, or 1


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
    heatmap: Tensor,
    factor: Tensor | None,
    ltrb: Tensor,
    stride: int,
    *,
    score_thresh: float,
    topk: int,
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
    scores = (
        torch.where(above, scores, PADDING_SCORE).permute(0, 2, 3, 1).reshape(n, -1)
    )  # [N, H * W * C]
    best, index = scores.topk(min(topk, scores.shape[1]), dim=1, sorted=False)  # [N, K]
    location = index // channels  # [N, K]
    points = level_points(height, width, stride, heatmap.device)[location]  # [N, K, 2]
    distances = (
        ltrb.flatten(2).transpose(1, 2).gather(1, location[:, :, None].expand(-1, -1, 4))
    )  # [N, K, 4]
    boxes = ltrb_to_boxes(points, distances.float() * stride)
    boxes = torch.cat(
        [boxes[..., :2], torch.max(boxes[..., 2:], boxes[..., :2] + MIN_BOX_SIZE)], dim=-1
    )
    return Candidates(boxes, best, index % channels, channels)


def suppress(levels: Sequence[Candidates], *, nms_thresh: float, topk: int) -> Proposals:
    """Merges the levels of each image, removes overlapping boxes and keeps the `topk` best.

    A threshold of 0 or below removes nothing. Boxes that tie with the last one stay as well: flat parts of an image
    have equal scores, and which of them a sort puts first says nothing.

    Returns:
        [N, K, ...] with as many rows as there are candidates; those that do not stay are padding.
    """
    boxes, scores, labels = (
        torch.cat(parts, dim=1) for parts in zip(*(level[:3] for level in levels), strict=True)
    )
    merged = _sort(Proposals(boxes, scores, labels, scores >= 0))
    rows = range(len(scores))
    if nms_thresh > 0:
        one_class = all(level.channels == 1 for level in levels)
        stays = torch.stack(
            [
                nms_mask(
                    merged.boxes[i],
                    merged.scores[i],
                    None if one_class else merged.labels[i],
                    nms_thresh,
                    limit=topk,
                )
                for i in rows
            ]
        )
        merged = _sort(merged._replace(scores=torch.where(stays, merged.scores, PADDING_SCORE)))
    if merged.scores.shape[1] > topk:
        last = merged.scores[:, topk - 1, None]
        scores = torch.where(merged.scores >= last, merged.scores, PADDING_SCORE)
        merged = merged._replace(scores=scores, valid=scores >= 0)
    return merged


def split_images(batch: Proposals, limit: int | None) -> list[Proposals]:
    """[N, K, ...] image by image, at most `limit` rows of each; None: without padding, whose extent is then asked for.

    Both cut nothing but padding, but for proposals that tie with the last one under a limit.
    """
    lengths = batch.valid.sum(dim=1).tolist() if limit is None else [limit] * len(batch.scores)
    return [Proposals(*(part[i, :length] for part in batch)) for i, length in enumerate(lengths)]


def _sort(batch: Proposals) -> Proposals:
    """Best first, equal scores in their order, padding last."""
    scores, order = batch.scores.sort(dim=1, descending=True, stable=True)
    return Proposals(
        batch.boxes.gather(1, order[:, :, None].expand(-1, -1, 4)),
        scores,
        batch.labels.gather(1, order),
        scores >= 0,
    )
