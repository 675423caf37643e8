"""Decoding of heat maps and box distances to proposals."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from centernet2.kernels import nms_masks
from centernet2.models.centernet.head import HeadOutput
from centernet2.ops.boxes import ltrb_to_boxes
from centernet2.structures import Proposals

MIN_BOX_SIZE = 0.01  # pixels
PADDING_SCORE = -1.0  # of padding while scores are sorted: below all others


@dataclass(frozen=True)
class ProposalLimits:
    """Numbers of proposals, and the IoU threshold of NMS."""

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


class Candidates(NamedTuple):
    """The best locations of one level, or of all of them: K per image."""

    boxes: Tensor  # [N, K, 4]
    scores: Tensor  # [N, K]; PADDING_SCORE where fewer locations exceed the score threshold
    labels: Tensor  # [N, K]


class Decoder(nn.Module):
    """Decoder of the best boxes after NMS (arXiv 2103.07461, section 5).

    The score of a location is the square root of its objectness. If the head predicts classes too,
    it is the root of class probability times objectness; without objectness, the class probability.

    Args:
        strides: of the levels, finest first.
        options: score threshold, numbers and IoU of proposals.
    """

    def __init__(self, strides: Sequence[int], options: DecoderOptions = DecoderOptions()) -> None:
        super().__init__()
        self.strides = list(strides)
        self.options = options

    def forward(
        self, output: HeadOutput, *, limit: int | None = None, padded: bool = False
    ) -> list[Proposals]:
        """Return the proposals of every image, best first.

        Args:
            output: raw predictions.
            limit: maximum number, not counting proposals that tie with the last; default:
                post_nms_topk.
            padded: return a fixed number of rows per image, so that nothing waits for the device.
                In training there are as many rows as candidates, so no proposal is cut off.
        """
        batch = self.batch(output, limit=limit, padded=padded)
        return split_images(batch, batch.scores.shape[1] if padded else None)

    @torch.no_grad()
    def batch(
        self, output: HeadOutput, *, limit: int | None = None, padded: bool = True
    ) -> Proposals:
        """Return the proposals of all images in one record [N, R, ...], padding last.

        The arguments are those of `forward`.
        """
        limits = self.options.training if self.training else self.options.inference
        topk = limits.post_nms_topk if limit is None else limit
        levels = [
            self.candidates(output, level, limits.pre_nms_topk)
            for level in range(len(self.strides))
        ]
        threshold = 0.0 if self.options.center_nms or not self.options.nms else limits.nms_threshold
        batch = merge_levels(
            levels, nms_threshold=threshold, topk=topk, num_classes=_heatmap_channels(output)
        )
        if self.training or not padded:
            return batch
        rows = torch.sym_min(topk, batch.scores.shape[1])
        return Proposals(*(column[:, :rows] for column in batch))

    def heatmaps(self, output: HeadOutput, level: int) -> tuple[Tensor, Tensor | None]:
        """Return the probabilities [N, C, H, W] of a level, and the factor of its scores.

        With classes and objectness, the factor is objectness [N, 1, H, W], else None.
        """
        classes, objects = output.class_logits, output.object_logits
        logits = objects if classes is None else classes
        if logits is None:
            raise ValueError("the head predicts neither classes nor objectness")
        factor = objects[level].float().sigmoid() if classes and objects else None
        return logits[level].float().sigmoid(), factor

    def candidates(self, output: HeadOutput, level: int, topk: int) -> Candidates:
        """Return the `topk` best locations of a level, in no order."""
        heatmap, factor = self.heatmaps(output, level)
        candidates = select_candidates(
            keep_local_maxima(heatmap) if self.options.center_nms else heatmap,
            factor,
            output.ltrb[level],
            self.strides[level],
            score_threshold=self.options.score_threshold,
            topk=topk,
        )
        if output.object_logits is None:
            return candidates
        # before sorting: scores that become equal by rounding keep their order
        root = candidates.scores.clamp(min=0).sqrt()
        return candidates._replace(scores=torch.where(candidates.scores >= 0, root, PADDING_SCORE))


def _heatmap_channels(output: HeadOutput) -> int:
    logits = output.class_logits or output.object_logits or []
    return logits[0].shape[1]


def level_points(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """Return locations [H * W, 2] (x, y) of a map, in pixels of the model's input."""
    y = torch.arange(height, device=device, dtype=torch.float32) * stride + stride // 2
    x = torch.arange(width, device=device, dtype=torch.float32) * stride + stride // 2
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)


def keep_local_maxima(heatmap: Tensor) -> Tensor:
    """Set a heat map [N, C, H, W] to 0 wherever a neighbor is higher."""
    highest = F.max_pool2d(heatmap, 3, stride=1, padding=1)
    return torch.where(heatmap == highest, heatmap, 0.0)


def select_candidates(
    heatmap: Tensor,
    factor: Tensor | None,
    ltrb: Tensor,
    stride: int,
    *,
    score_threshold: float,
    topk: int,
) -> Candidates:
    """Select the best scores of one level with their boxes.

    Args:
        heatmap: [N, C, H, W] probabilities.
        factor: [N, 1, H, W] probabilities that multiply the scores, after thresholding.
        ltrb: [N, 4, H, W] distances in units of the stride.
        stride: of the level.
        score_threshold: candidates score above it.
        topk: maximum number per image.
    """
    n, channels, height, width = heatmap.shape
    scores = heatmap if factor is None else heatmap * factor
    scores = torch.where(heatmap > score_threshold, scores, PADDING_SCORE)
    scores = scores.permute(0, 2, 3, 1).reshape(n, -1)  # [N, H * W * C]
    count = torch.sym_min(topk, scores.shape[1])
    best, index = scores.topk(count, dim=1, sorted=False)  # [N, K]
    location = index // channels  # [N, K]
    points = level_points(height, width, stride, heatmap.device)[location]  # [N, K, 2]
    rows = location[:, :, None].expand(-1, -1, 4)
    distances = ltrb.flatten(2).transpose(1, 2).gather(1, rows)  # [N, K, 4]
    return Candidates(location_boxes(points, distances, stride), best, index % channels)


def location_boxes(points: Tensor, ltrb: Tensor, stride: int) -> Tensor:
    """Return the boxes [..., 4] that locations predict.

    Args:
        points: [..., 2] (x, y).
        ltrb: [..., 4] distances in units of the stride.
        stride: of the level.
    """
    boxes = ltrb_to_boxes(points, ltrb.float() * stride)
    far_corner = torch.max(boxes[..., 2:], boxes[..., :2] + MIN_BOX_SIZE)
    return torch.cat([boxes[..., :2], far_corner], dim=-1)


def merge_levels(
    levels: Sequence[Candidates], *, nms_threshold: float, topk: int, num_classes: int
) -> Proposals:
    """Merge the levels of each image, apply NMS and keep the `topk` best boxes.

    Boxes that tie with the last one are kept too: uniform parts of an image have equal scores, and
    their order after sorting is arbitrary.

    Args:
        levels: candidates of each level.
        nms_threshold: IoU; 0 or less skips NMS.
        topk: boxes to keep per image.
        num_classes: NMS is applied per class.

    Returns:
        [N, K, ...] with one row per candidate; removed candidates become padding.
    """
    boxes, scores, labels = (torch.cat(parts, dim=1) for parts in zip(*levels, strict=True))
    merged = _sort(Candidates(boxes, scores, labels))
    if nms_threshold > 0:
        kept = nms_masks(*merged, nms_threshold, limit=topk, num_classes=num_classes)
        scores = torch.where(kept, merged.scores, PADDING_SCORE)
        merged = _sort(merged._replace(scores=scores))
    boxes, scores, labels = merged
    last = scores[:, torch.sym_min(topk, scores.shape[1]) - 1, None]
    valid = (scores >= 0) & (scores >= last)
    return Proposals(boxes, scores.clamp(min=0), labels, valid)


def split_images(batch: Proposals, limit: int | None) -> list[Proposals]:
    """Split [N, K, ...] into images.

    Args:
        batch: proposals, best first, padding last.
        limit: rows per image; ties beyond are cut off. None: all valid rows without padding, which
            waits for the device.
    """
    lengths = batch.valid.sum(dim=1).tolist() if limit is None else [limit] * len(batch.valid)
    return [Proposals(*(part[i, :length] for part in batch)) for i, length in enumerate(lengths)]


def _sort(batch: Candidates) -> Candidates:
    """Sort candidates, best first, padding last; equal scores keep their order."""
    scores, order = batch.scores.sort(dim=1, descending=True, stable=True)
    boxes = batch.boxes.gather(1, order[:, :, None].expand(-1, -1, 4))
    return Candidates(boxes, scores, batch.labels.gather(1, order))
