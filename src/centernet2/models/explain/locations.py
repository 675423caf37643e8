"""First-stage predictions at a point, and why a location is a proposal or not."""

import torch
from torch import Tensor

from centernet2.models.centernet.decoder import (
    Candidates,
    keep_local_maxima,
    level_points,
    location_boxes,
)
from centernet2.models.explain.explanation import Cut, LocationStep, Rival
from centernet2.models.explain.trace_reader import (
    EVERYTHING,
    TraceReader,
    find_row,
    find_suppressor,
)


class LocationReader:
    """Reader of the first stage of a trace."""

    def __init__(self, trace: TraceReader) -> None:
        self.trace, self.decoder = trace, trace.decoder
        limits = self.decoder.options.inference
        self.levels = [
            self.decoder.candidates(trace.head, level, limits.pre_nms_topk)
            for level in range(len(self.decoder.strides))
        ]
        (self.after_nms,) = self.decoder(trace.head, limit=EVERYTHING)
        scores = torch.cat([level.scores[0] for level in self.levels])
        self.candidate_scores = scores[scores >= 0]

    def location(self, level: int, x: float, y: float) -> LocationStep:
        """Describe the location of a level nearest to a point of the model's input."""
        stride = self.decoder.strides[level]
        heatmap, factor = self.decoder.heatmaps(self.trace.head, level)
        height, width = heatmap.shape[2:]
        column, row = (
            min(max(round((place - stride // 2) / stride), 0), side - 1)
            for place, side in ((x, width), (y, height))
        )
        heat = heatmap[0, :, row, column]  # [C]
        label = int(heat.argmax())
        score = heat[label] if factor is None else heat[label] * factor[0, 0, row, column]
        score = score if self.trace.head.object_logits is None else score.sqrt()
        point = level_points(height, width, stride, heatmap.device)[row * width + column]
        box = location_boxes(point, self.trace.head.ltrb[level][0, :, row, column], stride)
        cut = self._local_maximum(heatmap, label, row, column)
        cut = cut or self._first_cut(level, float(heat[label]), box, score, label)
        row_after_nms = find_row(self.after_nms, box, score, label)
        return LocationStep(
            level=level,
            stride=stride,
            column=column,
            row=row,
            point=(float(point[0]) * self.trace.scale[0], float(point[1]) * self.trace.scale[1]),
            heat=float(heat[label]),
            label=label,
            score=float(score),
            box=self.trace.box(box),
            rank=1 + int((self.candidate_scores > score).sum()),
            num_candidates=len(self.candidate_scores),
            cut=cut,
            proposal=row_after_nms if cut is None else (cut.by.row if cut.by else None),
        )

    def _local_maximum(self, heatmap: Tensor, label: int, row: int, column: int) -> Cut | None:
        if not self.decoder.options.center_nms:
            return None
        own, around = heatmap[0, label, row, column], heatmap[0, label]
        around = around[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        if keep_local_maxima(heatmap)[0, label, row, column] == own:
            return None
        return Cut("local maximum", float(own), float(around.max()))

    def _first_cut(
        self, level: int, heat: float, box: Tensor, score: Tensor, label: int
    ) -> Cut | None:
        """Return the rule of the first stage that ends the way of a location."""
        options, limits = self.decoder.options, self.decoder.options.inference
        if not heat > options.score_threshold:
            return Cut("score threshold", heat, options.score_threshold)
        own = self.levels[level]
        if find_row(Candidates(*(column[0] for column in own)), box, score, label) is None:
            everything = self.decoder.candidates(self.trace.head, level, EVERYTHING)
            rank = int((everything.scores >= score).sum())  # equal scores: the last of them
            return Cut("candidates per level", rank, limits.pre_nms_topk)
        place = find_row(self.after_nms, box, score, label)
        if place is None:
            return self._suppressed_proposal(box, score, label)
        if place >= len(self.trace.proposals.boxes):
            return Cut("proposals per image", place + 1, limits.post_nms_topk)
        return None

    def _suppressed_proposal(self, box: Tensor, score: Tensor, label: int) -> Cut:
        boxes, scores, labels, _ = self.after_nms
        threshold = self.decoder.options.inference.nms_threshold
        row, iou = find_suppressor(boxes, (scores >= score) & (labels == label), box, threshold)
        kept = row if row < len(self.trace.proposals.boxes) else None
        return Cut(
            "NMS", iou, threshold, Rival(self.trace.box(boxes[row]), float(scores[row]), kept)
        )
