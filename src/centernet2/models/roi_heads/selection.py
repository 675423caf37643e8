"""Selection of detections: combined scores, threshold, NMS.

`kernels/dispatch.py` chooses the kernel of NMS by device.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from centernet2.kernels import nms_mask
from centernet2.ops.boxes import Size, clip_boxes, nonempty
from centernet2.structures import Detections, Proposals, select

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


class DetectionSelector:
    """Selector of detections from the refined boxes of an image.

    With `static_shapes` a fixed number of candidates enters NMS.
    """

    def __init__(self, options: SelectionOptions = SelectionOptions()) -> None:
        self.options = options
        self.static_shapes = False

    def scores(self, probabilities: Tensor, proposals: Proposals) -> Tensor:
        """Combine class probabilities [R, C] and proposal scores (section 3, eq. 1)."""
        if self.options.multiply_proposal_score:
            return (probabilities * proposals.scores[:, None]).sqrt()
        return probabilities

    def __call__(
        self, boxes: Tensor, probabilities: Tensor, proposals: Proposals, size: Size
    ) -> Selected:
        """Select detections, best first.

        Args:
            boxes: [R, K, 4], K is 1 or C.
            probabilities: [R, C].
            proposals: R rows, valid or not.
            size: (height, width) of the image.
        """
        scores = self.scores(probabilities, proposals)
        finite = torch.isfinite(boxes).flatten(1).all(dim=1) & torch.isfinite(scores).all(dim=1)
        scores = torch.where((finite & proposals.valid)[:, None], scores, INVALID_SCORE)
        index = self._candidates(scores.flatten())
        score, order = scores.flatten()[index].sort(descending=True, stable=True)
        roi, label = index[order] // scores.shape[1], index[order] % scores.shape[1]
        column = label if boxes.shape[1] > 1 else torch.zeros_like(label)
        candidates: Detections = {
            "boxes": clip_boxes(boxes[roi, column], size),
            "scores": score,
            "labels": label,
        }
        rows = self._nms(candidates)
        return Selected(select(candidates, rows), roi[rows])

    def _candidates(self, scores: Tensor) -> Tensor:
        """Return ascending indices [K] of scores above the threshold, or of the top k."""
        if not self.static_shapes:
            return (scores > self.options.score_threshold).nonzero().squeeze(1)
        count = CANDIDATES_PER_DETECTION * self.options.detections_per_image
        return scores.topk(min(len(scores), count)).indices.sort().values

    def _nms(self, candidates: Detections) -> Tensor:
        """Return the rows [D] of the best candidates after NMS."""
        limit, boxes = self.options.detections_per_image, candidates["boxes"]
        above = candidates["scores"] > self.options.score_threshold
        scores = torch.where(above, candidates["scores"], INVALID_SCORE)
        kept = nms_mask(
            boxes, scores, candidates["labels"], self.options.nms_threshold, limit=limit
        )
        rows = torch.argsort(~kept, stable=True)[:limit]
        # a box in the image's padding is empty after clipping, but counts toward the limit
        return rows[kept[rows] & nonempty(boxes[rows])]
