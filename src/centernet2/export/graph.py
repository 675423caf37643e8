"""The detector as one graph: uint8 images of any size -> detections in pixels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from centernet2.export.model_api import for_model_api
from centernet2.export.resizing import Resized, resize
from centernet2.models.centernet import HeadOutput
from centernet2.models.detector import Detector
from centernet2.models.roi_heads import (
    BoxStage,
    CascadeRoIHeads,
    RankedBoxes,
    StageOutput,
    calibrated_factors,
)
from centernet2.ops.boxes import clip_boxes, nonempty
from centernet2.structures import Proposals

RECORDED = ("level", "proposal_", "stage")  # beginnings of the names of what `record` adds
PADDING_SCORE = -1.0  # of padding while detections are sorted: below all others


@dataclass(frozen=True)
class GraphOptions:
    """What a graph takes and returns."""

    batch: int | None = None  # images of a call; None: any number
    size: tuple[int, int] | None = None  # height and width of the images; None: any
    lists: bool = False  # detections of all images one after the other, without padding
    record: bool = False  # also return the proposals and the results of the cascade's stages


ANY_IMAGES = GraphOptions()


class BatchTrace(NamedTuple):
    """Results of a detector for images of one size, boxes in pixels of its input."""

    features: Mapping[str, Tensor]  # {name: [N, channels, h, w]} of the feature pyramid
    head: HeadOutput  # of the first stage
    proposals: Proposals  # [N, R, ...]
    stages: Sequence[StageOutput]  # of the second stage's cascade, for N * R proposals
    probabilities: Tensor | None  # [N, R, C] of the second stage
    boxes: RankedBoxes  # [N, D]
    valid: Tensor  # [N, D] bool: the other boxes are padding


class DetectionGraph(nn.Module):
    """A detector for images of one size, with a fixed number of rows for each image.

    Args:
        detector: in evaluation mode.
        options: with `lists`, each detection has the index of its image. Otherwise there are D rows
            of each image, the first `count` of which are detections.
        model_api: return what OpenVINO's Model API reads, see `model_api.py`.
    """

    def __init__(
        self, detector: Detector, options: GraphOptions = ANY_IMAGES, *, model_api: bool = False
    ) -> None:
        super().__init__()
        self.detector = detector
        self.options = options
        self.model_api = model_api

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the detections of images, uint8 [N, 3, H, W] RGB, by name."""
        divisor = self.detector.preprocess.size_divisibility
        resized = resize(images, self.detector.info.test_size, divisor)
        scale = _limits(resized.given_size) / _limits(resized.size)
        trace = self._run(resized)
        boxes = clip_boxes(trace.boxes.boxes * scale, resized.given_size)
        order, valid = _best_first(trace.boxes.scores, trace.valid & nonempty(boxes))
        ranked = trace.boxes.take(order)
        outputs = {
            "boxes": clip_boxes(ranked.boxes * scale, resized.given_size),
            "scores": ranked.scores,
            "labels": ranked.labels,
            **self._both_probabilities(trace, ranked),
            **self._masks(trace.features, ranked),
        }
        outputs = _as_lists(outputs, valid) if self.options.lists else _as_rows(outputs, valid)
        outputs = for_model_api(outputs) if self.model_api else outputs
        recorded = self._record(trace, ranked, scale) if self.options.record else {}
        return {**outputs, **recorded}

    def _run(self, resized: Resized) -> BatchTrace:
        detector, (below, right) = self.detector, resized.padding
        x = F.pad(detector.preprocess.normalize(resized.images), (0, right, 0, below))
        features = detector.neck(detector.backbone(x))
        first = detector.proposal_generator
        head = first.head(first.levels(features))
        proposals = first.decoder.batch(head)
        if detector.roi_heads is None:
            return _from_first_stage(features, head, proposals, resized.size)
        return _from_second_stage(detector.roi_heads, features, head, proposals, resized.size)

    def _both_probabilities(self, trace: BatchTrace, ranked: RankedBoxes) -> dict[str, Tensor]:
        """Return the two probabilities [N, D] that a score joins, if there are two stages."""
        heads = self.detector.roi_heads
        if heads is None or trace.probabilities is None:
            return {}
        index = ranked.sources * trace.probabilities.shape[2] + ranked.labels
        objectness = trace.proposals.scores.gather(1, ranked.sources)
        probability = trace.probabilities.flatten(1).gather(1, index)
        calibration = heads.selection.calibration
        if calibration is not None:
            objectness, probability = calibrated_factors(calibration, ranked.scores, objectness)
        return {"object_scores": objectness, "class_scores": probability}

    def _masks(self, features: Mapping[str, Tensor], ranked: RankedBoxes) -> dict[str, Tensor]:
        """Return mask probabilities [N, D, M, M] in the grids of boxes, if any."""
        heads = self.detector.roi_heads
        if heads is None or heads.mask_branch is None:
            return {}
        levels = heads.levels(features)
        labels = ranked.labels.flatten()
        masks = heads.mask_branch.probabilities(levels, _rois(ranked.boxes), labels)
        return {"masks": torch.unflatten(masks, 0, ranked.labels.shape)}

    def _record(self, trace: BatchTrace, ranked: RankedBoxes, scale: Tensor) -> dict[str, Tensor]:
        """Return the results of both stages, boxes in pixels of the images."""
        proposals, heads = trace.proposals, self.detector.roi_heads
        record = {
            **_maps_by_name(trace.head),
            "proposal_boxes": proposals.boxes * scale,
            "proposal_scores": proposals.scores,
            "proposal_labels": proposals.labels,
            "proposal_count": proposals.valid.sum(dim=1),
            "proposal_rows": ranked.sources,
        }
        shape = proposals.scores.shape  # N, R
        own: Iterable[nn.Module] = [] if heads is None else heads.stages
        for k, (stage, output) in enumerate(zip(own, trace.stages, strict=True)):
            probabilities = cast(BoxStage, stage).probabilities(output.logits)
            record[f"stage{k}_boxes"] = torch.unflatten(output.boxes, 0, shape) * scale
            record[f"stage{k}_probabilities"] = torch.unflatten(probabilities, 0, shape)
        return record


def _from_first_stage(
    features: Mapping[str, Tensor], head: HeadOutput, proposals: Proposals, size: Tensor
) -> BatchTrace:
    """Take proposals as the detections of a one-stage detector."""
    boxes = clip_boxes(proposals.boxes, size)
    sources = torch.arange(boxes.shape[1], device=boxes.device).expand_as(proposals.labels)
    ranked = RankedBoxes(boxes, proposals.scores, proposals.labels, sources)
    valid = proposals.valid & nonempty(boxes)
    return BatchTrace(features, head, proposals, [], None, ranked, valid)


def _from_second_stage(
    heads: CascadeRoIHeads,
    features: Mapping[str, Tensor],
    head: HeadOutput,
    proposals: Proposals,
    size: Tensor,
) -> BatchTrace:
    levels = heads.levels(features)
    stages = heads.refine(levels, _rois(proposals.boxes), _limits(size))
    shape = proposals.scores.shape  # N, R
    boxes = torch.unflatten(stages[-1].boxes, 0, shape)
    probabilities = torch.unflatten(heads.mean_probabilities(stages), 0, shape)
    ranked, valid = heads.selection.batch(boxes, probabilities, proposals, size)
    return BatchTrace(features, head, proposals, stages, probabilities, ranked, valid)


def _maps_by_name(head: HeadOutput) -> dict[str, Tensor]:
    """Return the maps [N, ..., h, w] of each level by name: level0_FIELD, ..."""
    return {
        f"level{level}_{field}": own
        for field, maps in head._asdict().items()
        for level, own in enumerate(maps or [])
    }


def _rois(boxes: Tensor) -> Tensor:
    """Number boxes [N, R, 4] by image: RoIs [N * R, 5]."""
    images = torch.arange(boxes.shape[0], dtype=boxes.dtype, device=boxes.device)
    column = images[:, None, None].expand(-1, boxes.shape[1], 1)
    return torch.cat([column, boxes], dim=2).flatten(0, 1)


def _limits(size: Tensor) -> Tensor:
    """Return width and height twice, [4], of a size [2]."""
    return size.flip(0).repeat(2)


def _best_first(scores: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return an order [N, D] that puts padding last, and the validity in that order."""
    ranks = torch.where(valid, scores, PADDING_SCORE)
    order = ranks.sort(dim=1, descending=True, stable=True).indices
    return order, valid.gather(1, order)


def _as_rows(outputs: Mapping[str, Tensor], valid: Tensor) -> dict[str, Tensor]:
    """Set padding [N, D, ...] to 0 and add the number of detections of each image."""
    padded = {
        name: torch.where(valid.reshape(*valid.shape, *[1] * (column.ndim - 2)), column, 0)
        for name, column in outputs.items()
    }
    return {**padded, "count": valid.sum(dim=1)}


def _as_lists(outputs: Mapping[str, Tensor], valid: Tensor) -> dict[str, Tensor]:
    """Drop padding and add the index [D] of the image of each detection."""
    images, rows = valid.nonzero().unbind(1)
    listed = {name: column[images, rows] for name, column in outputs.items()}
    return {**listed, "image_index": images}
