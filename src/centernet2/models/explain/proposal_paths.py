"""What becomes of a proposal, and why it is a detection or is none."""

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from centernet2.models.explain.explanation import ClassStep, Cut, ProposalStep, Rival, StageStep
from centernet2.models.explain.trace_reader import (
    EVERYTHING,
    TraceReader,
    find_suppressor,
    first_row,
)
from centernet2.models.roi_heads import DetectionSelector, calibrated_scores, mean_probabilities
from centernet2.models.roi_heads.selection import CANDIDATES_PER_DETECTION, Selected
from centernet2.ops.boxes import clip_boxes, nonempty

TOP_CLASSES = 3  # classes of a proposal that are followed to the end


def one_stage_path(trace: TraceReader, row: int) -> ProposalStep:
    """Return the way of a one-stage proposal: it becomes a detection or is empty."""
    box, score = trace.proposals.boxes[row], float(trace.proposals.scores[row])
    detection = first_row(trace.sources == trace.source_rows[row])
    cut = None if detection is not None else Cut("box inside the image", 0.0, 0.0)
    clipped = trace.box(clip_boxes(box, trace.size))
    only = ClassStep(int(trace.proposals.labels[row]), score, score, clipped, cut, detection)
    return ProposalStep(row, score, trace.box(box), (), (only,))


class PathReader:
    """Reader of the second stage of a trace."""

    def __init__(self, trace: TraceReader, selection: DetectionSelector) -> None:
        self.trace, self.selection = trace, selection
        self.probabilities = mean_probabilities([each.probabilities for each in trace.stages])
        self.scores = self.selection.scores(self.probabilities, trace.padded)  # [R, C]

    @cached_property
    def _after_nms(self) -> Selected:
        """All boxes that NMS keeps."""
        options = replace(self.selection.options, detections_per_image=EVERYTHING)
        return DetectionSelector(options)(
            self.trace.stages[-1].boxes, self.probabilities, self.trace.padded, self.trace.size
        )

    def path(self, row: int) -> ProposalStep:
        """Return the way of a proposal."""
        trace, source = self.trace, int(self.trace.source_rows[row])
        count = min(TOP_CLASSES, self.probabilities.shape[1])
        best = self.probabilities[source].topk(count).indices.tolist()
        found = trace.detections["labels"][trace.sources == source].tolist()
        return ProposalStep(
            row,
            float(trace.proposals.scores[row]),
            trace.box(trace.proposals.boxes[row]),
            tuple(self._stages(source, best[0])),
            tuple(self._class(source, label) for label in dict.fromkeys(best + found)),
        )

    def _stages(self, source: int, label: int) -> list[StageStep]:
        roi = self.trace.padded.boxes[source]
        steps: list[StageStep] = []
        for stage in self.trace.stages:
            boxes = stage.boxes[source]  # [K, 4]
            box = clip_boxes(boxes[label if len(boxes) > 1 else 0], self.trace.size)
            probabilities = tuple(stage.probabilities[source].tolist())
            steps.append(StageStep(self.trace.box(roi), self.trace.box(box), probabilities))
            roi = box
        return steps

    def _class(self, source: int, label: int) -> ClassStep:
        boxes = self.trace.stages[-1].boxes[source]  # [K, 4]
        box = clip_boxes(boxes[label if len(boxes) > 1 else 0], self.trace.size)
        detection = first_row(self._is_detection(source, label))
        return ClassStep(
            label,
            float(self.probabilities[source, label]),
            float(self._calibrated(self.scores[source, label], label)),
            self.trace.box(box),
            None if detection is not None else self._cut(source, label, box),
            detection,
        )

    def _cut(self, source: int, label: int, box: Tensor) -> Cut:
        """Return the rule that keeps a box of a class from being a detection."""
        options, score = self.selection.options, self.scores[source, label]
        if not score > options.score_threshold:
            return Cut("score threshold", float(score), options.score_threshold)
        if not bool(nonempty(box)):
            return Cut("box inside the image", 0.0, 0.0)
        rank = 1 + int((self.scores > score).sum())
        entering = CANDIDATES_PER_DETECTION * options.detections_per_image
        if self.selection.static_shapes and rank > entering:
            return Cut("candidates for detections", rank, entering)
        kept, sources = self._after_nms
        place = first_row((sources == source) & (kept["labels"] == label))
        if place is not None:
            return Cut("detections per image", place + 1, options.detections_per_image)
        better = (kept["scores"] >= score) & (kept["labels"] == label)
        row, iou = find_suppressor(kept["boxes"], better, box, options.nms_threshold)
        number = first_row(self._is_detection(int(sources[row]), label))
        rival_score = float(self._calibrated(kept["scores"][row], label))
        rival = Rival(self.trace.box(kept["boxes"][row]), rival_score, number)
        return Cut("NMS", iou, options.nms_threshold, rival)

    def _is_detection(self, source: int, label: int) -> Tensor:
        """Return which detections [D] are of a proposal and a class."""
        return (self.trace.sources == source) & (self.trace.detections["labels"] == label)

    def _calibrated(self, score: Tensor, label: int) -> Tensor:
        """Return a detection's score as users see it; rules compare the network's."""
        calibration = self.selection.calibration
        if calibration is None:
            return score
        return calibrated_scores(calibration, score, score.new_tensor(label, dtype=torch.long))
