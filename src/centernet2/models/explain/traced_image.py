"""What a detector computed for one image, and the rules that it followed."""

from collections.abc import Sequence
from typing import NamedTuple, cast

from torch import Tensor

from centernet2.models.centernet import Decoder, HeadOutput
from centernet2.models.detector import Detector, Trace
from centernet2.models.roi_heads import BoxStage, DetectionSelector
from centernet2.ops.boxes import Size
from centernet2.structures import Detections, Proposals


class StageResult(NamedTuple):
    """What one stage of the cascade makes of all proposals."""

    boxes: Tensor  # [R, K, 4]
    probabilities: Tensor  # [R, C + 1], background last


class TracedImage(NamedTuple):
    """Results for one image, boxes in pixels of the model's input.

    They come from a detector, or from the record of an exported file.
    """

    size: Size  # of the model's input without padding
    decoder: Decoder
    head: HeadOutput  # [1, ...]
    proposals: Proposals  # [R, ...], some of them may be padding
    stages: Sequence[StageResult]  # none of a one-stage detector
    selection: DetectionSelector | None  # of the second stage
    detections: Detections
    sources: Tensor  # [D] row of the proposal behind each detection


def traced_image(model: Detector, trace: Trace) -> TracedImage:
    """Return what explains the results of a detector for one image."""
    if trace.head is None:
        raise ValueError("a model in training mode cannot be explained; call model.eval() first")
    heads = model.roi_heads
    stages = () if heads is None else cast(Sequence[BoxStage], heads.stages)
    return TracedImage(
        trace.sizes[0],
        model.proposal_generator.decoder,
        trace.head,
        trace.proposals[0],
        [
            StageResult(output.boxes, stage.probabilities(output.logits))
            for stage, output in zip(stages, trace.stages, strict=True)
        ],
        None if heads is None else heads.selection,
        trace.detections[0],
        trace.sources[0],
    )
