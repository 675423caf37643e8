"""Inspection: what each of the detector's two stages computes for an image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from centernet2.models.detector import Detector, Trace
from centernet2.structures import Inspection, Proposals


@torch.no_grad()
def inspect(
    model: Detector, images: Sequence[Tensor], *, num_proposals: int = 0, embed: bool = False
) -> list[Inspection]:
    """Return detections of images [3, h, w] (uint8 RGB), with scores of both stages.

    Args:
        model: a two-stage detector in evaluation mode.
        num_proposals: proposals to report per image. They may be more than enter the second stage,
            to measure what it would gain from more; 0: those that enter it.
        embed: give each detection its RoI features.
    """
    return inspect_trace(model, model.run(images), num_proposals=num_proposals, embed=embed)


@torch.no_grad()
def inspect_trace(
    model: Detector, trace: Trace, *, num_proposals: int = 0, embed: bool = False
) -> list[Inspection]:
    """Return what `inspect` does, of results that are there."""
    if model.roi_heads is None:
        raise ValueError("a one-stage detector has no stages to compare")
    if trace.head is None:
        raise ValueError("a model in training mode cannot be inspected; call model.eval() first")
    used = [each.without_padding() for each in trace.proposals]
    limit = max([num_proposals, *(len(each.boxes) for each in used)])
    more = model.proposal_generator.decoder(trace.head, limit=limit) if num_proposals else used
    probabilities = model.roi_heads.probabilities(trace.stages, trace.proposals)
    found = trace.detections
    if embed:
        vectors = model.embed(trace.features, [each["boxes"] for each in found])
        found = [{**each, "embeddings": own} for each, own in zip(found, vectors, strict=True)]
    return [
        Inspection(
            detections,
            _extend(own, longer),
            len(own.boxes),
            object_scores=padded.scores[rows],
            class_scores=p[rows, detections["labels"]],
        )
        for detections, rows, padded, own, longer, p in zip(
            found, trace.sources, trace.proposals, used, more, probabilities, strict=True
        )
    ]


def _extend(used: Proposals, more: Proposals) -> Proposals:
    """Extend the proposals that the detector used by the rest of a longer list."""
    rest = (column[len(used.boxes) :] for column in more)
    return Proposals(*(torch.cat(columns) for columns in zip(used, rest, strict=True)))
