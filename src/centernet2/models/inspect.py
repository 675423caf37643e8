"""Inspection: what each of the detector's two stages computes for an image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from centernet2.models.detector import Detector, Trace
from centernet2.models.roi_heads import (
    CascadeRoIHeads,
    calibrated_factors,
    calibrated_objectness,
    unknown_objects,
)
from centernet2.structures import Inspection, Proposals


@torch.no_grad()
def inspect(
    model: Detector,
    images: Sequence[Tensor],
    *,
    num_proposals: int = 0,
    embed: bool = False,
    unknown: bool = False,
    trace: Trace | None = None,
) -> list[Inspection]:
    """Return detections of images [3, h, w] (uint8 RGB), with scores of both stages.

    Args:
        model: a two-stage detector in evaluation mode.
        num_proposals: proposals to report per image. They may be more than enter the second stage,
            to measure what it would gain from more; 0: those that enter it.
        embed: give each detection its RoI features.
        unknown: return one box for each object, to tell those of none of the classes.
        trace: of the images, if the model has run on them.
    """
    trace = model.run(images) if trace is None else trace
    if model.roi_heads is None:
        raise ValueError("a one-stage detector has no stages to compare")
    if trace.head is None:
        raise ValueError("a model in training mode cannot be inspected; call model.eval() first")
    used = [each.without_padding() for each in trace.proposals]
    limit = max([num_proposals, *(len(each.boxes) for each in used)])
    more = model.proposal_generator.decoder(trace.head, limit=limit) if num_proposals else used
    found, factors = trace.detections, _factors(model.roi_heads, trace)
    if embed:
        vectors = model.embed(trace.features, [each["boxes"] for each in found])
        found = [{**each, "embeddings": own} for each, own in zip(found, vectors, strict=True)]
    rows = zip(found, used, more, factors, strict=True)
    inspected = [
        Inspection(own, _proposals(model.roi_heads, first, longer), len(first.boxes), *both)
        for own, first, longer, both in rows
    ]
    if not unknown:
        return inspected
    objects = unknown_objects(model.roi_heads, trace.stages, trace.proposals, trace.sizes)
    return [each._replace(unknown=own) for each, own in zip(inspected, objects, strict=True)]


def _proposals(heads: CascadeRoIHeads, used: Proposals, more: Proposals) -> Proposals:
    """Return all proposals; scores are probabilities if there is a calibration."""
    proposals, calibration = _extend(used, more), heads.selection.calibration
    if calibration is None:
        return proposals
    return proposals._replace(scores=calibrated_objectness(calibration, proposals.scores))


def _factors(heads: CascadeRoIHeads, trace: Trace) -> list[tuple[Tensor, Tensor]]:
    """Return objectness and class probability [D] of the detections of each image."""
    probabilities = heads.probabilities(trace.stages, trace.proposals)
    columns = zip(trace.detections, trace.sources, trace.proposals, probabilities, strict=True)
    factors = [(own.scores[rows], p[rows, each["labels"]]) for each, rows, own, p in columns]
    if heads.selection.calibration is None:
        return factors
    return [
        calibrated_factors(heads.selection.calibration, each["scores"], objectness)
        for each, (objectness, _) in zip(trace.detections, factors, strict=True)
    ]


def _extend(used: Proposals, more: Proposals) -> Proposals:
    """Extend the proposals that the detector used by the rest of a longer list."""
    rest = (column[len(used.boxes) :] for column in more)
    return Proposals(*(torch.cat(columns) for columns in zip(used, rest, strict=True)))
