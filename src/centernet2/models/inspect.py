"""A look into the detector: what each of its two stages says of an image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from centernet2.models.detector import Detector
from centernet2.structures import Inspection, Proposals


@torch.no_grad()
def inspect(model: Detector, images: Sequence[Tensor], *, num_proposals: int) -> list[Inspection]:
    """The detections of images [3, h, w] (uint8 RGB) with the scores of both stages behind each.

    The second stage is given as many proposals as always; up to `num_proposals` are reported, to know what more would
    bring. ValueError where there is no second stage.
    """
    if model.roi_heads is None:
        raise ValueError("a one-stage detector has no stages to compare")
    first, second = model.proposal_generator, model.roi_heads
    batch = model.preprocess(images)
    features = model.neck(model.backbone(batch.tensor))
    output = first.head(first.levels(features))
    used = first.decoder.options.inference.post_nms_topk
    proposals = first.decoder(output, limit=max(used, num_proposals))
    given = [Proposals(*(column[:used] for column in each)) for each in proposals]

    levels = [features[name] for name in second.in_features]
    boxes, probabilities = second.classify(levels, given, batch.sizes)
    scores = second.join_scores(probabilities, given)
    chosen = [
        second.choose(b, s, size) for b, s, size in zip(boxes, scores, batch.sizes, strict=True)
    ]
    detections = second.with_masks(levels, [found for found, _ in chosen], batch.sizes)
    return [
        Inspection(
            found,
            of_image,
            len(own.boxes),
            object_scores=own.scores[regions],
            class_scores=probability[regions, found["labels"]],
        )
        for found, of_image, own, probability, (_, regions) in zip(
            detections, proposals, given, probabilities, chosen, strict=True
        )
    ]
