"""Why there is a detection at a point of an image, or why there is none.

An explanation reads the trace of the detector, and asks the decoder and the selector of detections
what they keep without their limits. It computes nothing in another way than the detector.
"""

from collections.abc import Sequence

import torch

from centernet2.models.explain.explanation import Explanation as Explanation
from centernet2.models.explain.explanation import FoundObject, ProposalStep
from centernet2.models.explain.locations import LocationReader
from centernet2.models.explain.proposal_paths import PathReader, one_stage_path
from centernet2.models.explain.trace_reader import TraceReader
from centernet2.models.explain.traced_image import StageResult as StageResult
from centernet2.models.explain.traced_image import TracedImage as TracedImage
from centernet2.models.explain.traced_image import traced_image as traced_image


@torch.no_grad()
def explain(
    traced: TracedImage, x: float, y: float, *, scale: tuple[float, float] = (1.0, 1.0)
) -> Explanation:
    """Explain what a detector has computed at a point of an image.

    Args:
        traced: its results for the image.
        x, y: a point, in pixels of the original image.
        scale: factors in x and y from the model's input to the original image.
    """
    trace = TraceReader(traced, scale)
    place = x / scale[0], y / scale[1]  # in the model's input
    reader = LocationReader(trace)
    locations = tuple(reader.location(level, *place) for level in range(len(reader.levels)))
    best = max(range(len(locations)), key=lambda level: locations[level].score)
    rows = [locations[best].proposal, *trace.proposals_at(*place)]
    return Explanation(
        (x, y),
        locations,
        best,
        trace.head.class_logits is not None,
        len(trace.proposals.boxes),
        _paths(trace, [row for row in rows if row is not None]),
        _detections(trace),
    )


def _detections(trace: TraceReader) -> tuple[FoundObject, ...]:
    found = trace.detections
    columns = zip(found["labels"].tolist(), found["scores"].tolist(), found["boxes"], strict=True)
    return tuple(FoundObject(label, score, trace.box(box)) for label, score, box in columns)


def _paths(trace: TraceReader, rows: Sequence[int]) -> tuple[ProposalStep, ...]:
    """Return the way of each proposal once."""
    unique = dict.fromkeys(rows)
    if trace.selection is None:
        return tuple(one_stage_path(trace, row) for row in unique)
    reader = PathReader(trace, trace.selection)
    return tuple(reader.path(row) for row in unique)
