"""Work that a detector is measured with: images, objects, and selections that are full whatever the weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from centernet2.models.detector import Detector
from centernet2.models.roi_heads import CANDIDATES_PER_DETECTION
from centernet2.structures import Target

OBJECTS = 12  # of an image in training; COCO has 7 on average


@dataclass(frozen=True)
class Load:
    """What a pass selects, in all images of the batch together."""

    proposals: int
    detections: int


def make_images(count: int, size: tuple[int, int]) -> list[Tensor]:  # uint8 [3, H, W]
    """Images of noise, the same each time, in main memory as those from a file are."""
    random = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=random) for _ in range(count)
    ]


def make_targets(model: Detector, images: Sequence[Tensor]) -> list[Target]:
    """OBJECTS boxes for each image, with masks that fill them where the model has a mask head."""
    random = torch.Generator().manual_seed(0)
    heads = model.roi_heads
    num_classes = model.proposal_generator.head.num_classes if heads is None else heads.num_classes
    targets: list[Target] = []
    for image in images:
        size = torch.tensor([image.shape[2], image.shape[1]])
        low = torch.rand(OBJECTS, 2, generator=random) * 0.7  # of the image, as all numbers here
        high = (low + 0.02 + torch.rand(OBJECTS, 2, generator=random) * 0.2).clamp(max=1)
        boxes = torch.cat([low * size, high * size], dim=1)
        labels = torch.randint(0, num_classes, (OBJECTS,), generator=random)
        targets.append({"boxes": boxes, "labels": labels})
        if model.predicts_masks:
            targets[-1]["masks"] = _filled(boxes, image.shape[1], image.shape[2])
    return targets


def _filled(boxes: Tensor, height: int, width: int) -> Tensor:  # [G, H, W]
    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    left, top, right, bottom = boxes[:, :, None].unbind(dim=1)  # [G, 1] each
    inside_x, inside_y = (x >= left) & (x < right), (y >= top) & (y < bottom)
    return inside_y[:, :, None] & inside_x[:, None, :]


@torch.inference_mode()
def fill_selections(model: Detector, images: Sequence[Tensor]) -> None:
    """Sets the score thresholds so that every selection has its full number, whatever the weights see in the images.

    Untrained weights find nothing above the usual thresholds, and trained ones nothing in noise: the choice among
    overlapping boxes and the mask head would have no work. The first stage gives as many candidates as it may, and the
    second chooses among CANDIDATES_PER_DETECTION times as many as there may be detections.
    """
    first, second = model.proposal_generator, model.roi_heads
    first.decoder.options = replace(first.decoder.options, score_threshold=0.0)
    if second is None:
        return
    trace = model.run(images)
    options = second.selection.options
    count = CANDIDATES_PER_DETECTION * options.detections_per_image
    probabilities = second.probabilities(trace.stages, trace.proposals)
    scores = map(second.selection.scores, probabilities, trace.proposals)
    limits = [float(s.flatten().topk(min(count, s.numel())).values[-1]) for s in scores if len(s)]
    second.selection.options = replace(options, score_threshold=min(limits, default=0.0))


@torch.inference_mode()
def count_load(model: Detector, images: Sequence[Tensor]) -> Load:
    """What one pass selects."""
    trace = model.run(images)
    proposals = sum(int(own.valid.sum()) for own in trace.proposals)
    return Load(proposals, sum(len(own["boxes"]) for own in trace.detections))
