"""Selection of detections: combined scores, threshold, NMS.

`kernels/dispatch.py` chooses the kernel of NMS by device.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from centernet2.kernels import nms_masks
from centernet2.models.roi_heads.calibrated import calibrated_scores
from centernet2.ops.boxes import Size, clip_boxes, nonempty
from centernet2.structures import Detections, Proposals, ScoreCalibration

CANDIDATES_PER_DETECTION = 20  # boxes that enter NMS with static shapes
INVALID_SCORE = -1.0  # of boxes that cannot be detections: below all scores


@dataclass(frozen=True)
class SelectionOptions:
    """Selection of detections."""

    score_threshold: float = 0.05  # detections score above it
    nms_threshold: float = 0.5  # maximum IoU between detections of a class
    detections_per_image: int = 100
    multiply_proposal_score: bool = False  # combine with the first stage's score


class Selected(NamedTuple):
    """Detections of one image, and their proposals."""

    detections: Detections
    sources: Tensor  # [D] row of the proposal behind each detection


class RankedBoxes(NamedTuple):
    """Boxes of a batch of images, the best of each image first."""

    boxes: Tensor  # [N, D, 4]
    scores: Tensor  # [N, D]
    labels: Tensor  # [N, D]
    sources: Tensor  # [N, D] row of the proposal behind each box

    def take(self, rows: Tensor) -> "RankedBoxes":
        """Select rows [N, D] of each image."""
        boxes = self.boxes.gather(1, rows[..., None].expand(-1, -1, 4))
        return RankedBoxes(boxes, *(column.gather(1, rows) for column in self[1:]))


class DetectionSelector:
    """Selector of detections from the refined boxes of an image.

    With `static_shapes` a fixed number of candidates enters NMS. With a `calibration` the scores of
    the selected detections become probabilities.
    """

    def __init__(self, options: SelectionOptions = SelectionOptions()) -> None:
        self.options = options
        self.static_shapes = False
        self.calibration: ScoreCalibration | None = None

    def scores(self, probabilities: Tensor, proposals: Proposals) -> Tensor:
        """Combine class probabilities [..., R, C] and proposal scores (section 4, eq. 1)."""
        if self.options.multiply_proposal_score:
            return (probabilities * proposals.scores[..., None]).sqrt()
        return probabilities

    def __call__(
        self, boxes: Tensor, probabilities: Tensor, proposals: Proposals, size: Size
    ) -> Selected:
        """Select detections of an image, best first.

        Args:
            boxes: [R, K, 4], K is 1 or C.
            probabilities: [R, C].
            proposals: R rows, valid or not.
            size: (height, width) of the image.
        """
        batch = Proposals(*(column[None] for column in proposals))
        scores = self._valid_scores(boxes[None], probabilities[None], batch)
        index = self._top(scores) if self.static_shapes else self._above_threshold(scores)
        ranked = _rank(boxes[None], scores, index, size)
        ranked, valid = self._select(ranked, probabilities.shape[1])
        rows = valid[0].nonzero().squeeze(1)  # waits for the device once, not for each column
        boxes, score, labels, sources = (column[0, rows] for column in ranked)
        return Selected({"boxes": boxes, "scores": score, "labels": labels}, sources)

    def batch(
        self, boxes: Tensor, probabilities: Tensor, proposals: Proposals, size: Size
    ) -> tuple[RankedBoxes, Tensor]:
        """Select a fixed number of detections of images of one size.

        Args:
            boxes: [N, R, K, 4], K is 1 or C.
            probabilities: [N, R, C].
            proposals: [N, R, ...] rows, valid or not.
            size: (height, width) of the images.

        Returns:
            The detections, and a mask [N, D] bool that tells them from padding.
        """
        scores = self._valid_scores(boxes, probabilities, proposals)
        ranked = _rank(boxes, scores, self._top(scores), size)
        return self._select(ranked, probabilities.shape[2])

    def _valid_scores(self, boxes: Tensor, probabilities: Tensor, proposals: Proposals) -> Tensor:
        """Return scores [N, R, C], INVALID_SCORE in rows that cannot be detections."""
        scores = self.scores(probabilities, proposals)
        finite = torch.isfinite(boxes).flatten(2).all(dim=2) & torch.isfinite(scores).all(dim=2)
        return torch.where((finite & proposals.valid)[..., None], scores, INVALID_SCORE)

    def _above_threshold(self, scores: Tensor) -> Tensor:
        """Return ascending indices [1, K] of the scores of one image above the threshold."""
        return (scores.flatten() > self.options.score_threshold).nonzero().T

    def _top(self, scores: Tensor) -> Tensor:
        """Return ascending indices [N, K] of the highest scores of each image."""
        scores = scores.flatten(1)
        most = CANDIDATES_PER_DETECTION * self.options.detections_per_image
        return scores.topk(torch.sym_min(most, scores.shape[1]), dim=1).indices.sort(dim=1).values

    def _select(self, ranked: RankedBoxes, num_classes: int) -> tuple[RankedBoxes, Tensor]:
        """Return the best boxes after NMS [N, D], and which of them are valid."""
        rows, valid = self._nms(ranked, num_classes)
        ranked = ranked.take(rows)
        if self.calibration is None:
            return ranked, valid
        scores = calibrated_scores(self.calibration, ranked.scores, ranked.labels)
        ranks = torch.where(valid, scores, INVALID_SCORE)
        order = ranks.sort(dim=1, descending=True, stable=True).indices
        return ranked._replace(scores=scores).take(order), valid.gather(1, order)

    def _nms(self, ranked: RankedBoxes, num_classes: int) -> tuple[Tensor, Tensor]:
        """Return the rows [N, D] of the best boxes after NMS, and which of them are valid."""
        limit = self.options.detections_per_image
        above = ranked.scores > self.options.score_threshold
        kept = nms_masks(
            ranked.boxes,
            torch.where(above, ranked.scores, INVALID_SCORE),
            ranked.labels,
            self.options.nms_threshold,
            limit=limit,
            num_classes=num_classes,
        )
        ranks = torch.where(kept, ranked.scores, INVALID_SCORE)
        rows = ranks.sort(dim=1, descending=True, stable=True).indices[:, :limit]
        # a box in the image's padding is empty after clipping, but counts toward the limit
        valid = (kept & nonempty(ranked.boxes)).gather(1, rows)
        return rows, valid


def _rank(boxes: Tensor, scores: Tensor, index: Tensor, size: Size) -> RankedBoxes:
    """Sort candidates, best first.

    Args:
        boxes: [N, R, K, 4], K is 1 or C.
        scores: [N, R, C].
        index: [N, D] of the candidates among the R * C scores of an image.
    """
    score, order = scores.flatten(1).gather(1, index).sort(dim=1, descending=True, stable=True)
    index = index.gather(1, order)
    sources, labels = index // scores.shape[2], index % scores.shape[2]
    rows = index if boxes.shape[2] > 1 else sources
    own = boxes.flatten(1, 2).gather(1, rows[..., None].expand(-1, -1, 4))
    return RankedBoxes(clip_boxes(own, size), score, labels, sources)
