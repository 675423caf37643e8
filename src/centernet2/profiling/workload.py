"""The workload of a measurement: images, targets, and full selections."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from centernet2.models.detector import Detector
from centernet2.models.roi_heads import CANDIDATES_PER_DETECTION
from centernet2.profiling.records import SelectedCounts
from centernet2.structures import Target

TARGETS_PER_IMAGE = 12  # COCO has 7 on average


def make_images(count: int, size: tuple[int, int]) -> list[Tensor]:  # uint8 [3, H, W]
    """Make images of seeded noise, in main memory like images from files."""
    random = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=random) for _ in range(count)
    ]


def make_targets(model: Detector, images: Sequence[Tensor]) -> list[Target]:
    """Make boxes for each image, with filled masks if the model predicts masks."""
    random = torch.Generator().manual_seed(0)
    targets: list[Target] = []
    for image in images:
        size = torch.tensor([image.shape[2], image.shape[1]])
        low = torch.rand(TARGETS_PER_IMAGE, 2, generator=random) * 0.7  # of the image's size
        high = (low + 0.02 + torch.rand(low.shape, generator=random) * 0.2).clamp(max=1)
        boxes = torch.cat([low * size, high * size], dim=1)
        labels = torch.randint(0, model.num_classes, (TARGETS_PER_IMAGE,), generator=random)
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
    """Set the score thresholds so that every selection is full, whatever the weights.

    Untrained weights give no score above the usual thresholds, and trained ones none in noise: NMS
    and the mask head would have no work. The first stage gives as many candidates as it may, and
    the second has CANDIDATES_PER_DETECTION of them for each detection.
    """
    decoder, heads = model.proposal_generator.decoder, model.roi_heads
    decoder.options = replace(decoder.options, score_threshold=0.0)
    if heads is None:
        return
    trace = model.run(images)
    options = heads.selection.options
    count = CANDIDATES_PER_DETECTION * options.detections_per_image
    probabilities = heads.probabilities(trace.stages, trace.proposals)
    scores = map(heads.selection.scores, probabilities, trace.proposals)
    limits = [float(s.flatten().topk(min(count, s.numel())).values[-1]) for s in scores if len(s)]
    heads.selection.options = replace(options, score_threshold=min(limits, default=0.0))


@torch.inference_mode()
def count_selected(model: Detector, images: Sequence[Tensor]) -> SelectedCounts:
    """Count what one pass selects."""
    trace = model.run(images)
    proposals = sum(int(own.valid.sum()) for own in trace.proposals)
    return SelectedCounts(proposals, sum(len(own["boxes"]) for own in trace.detections))
