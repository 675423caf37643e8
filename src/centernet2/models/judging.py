"""What a detector says about given boxes, such as the labels of a data set."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from centernet2.models.detector import Detector
from centernet2.models.preprocess import size_of
from centernet2.models.roi_heads.pooler import number_boxes
from centernet2.ops.boxes import clip_to
from centernet2.ops.tensors import lower_precision
from centernet2.structures import Detections


class Judgement(NamedTuple):
    """What a detector says about G given boxes of an image, and what it detects."""

    boxes: Tensor  # [G, 4] the given ones, refined
    probabilities: Tensor  # [G, C] of the classes; the rest up to 1 is background
    detections: Detections


@torch.no_grad()
def judge_boxes(
    model: Detector, images: Sequence[Tensor], boxes: Sequence[Tensor]
) -> list[Judgement]:
    """Let the second stage judge given boxes of images, as if they were proposals.

    Args:
        model: a two-stage detector in evaluation mode.
        images: uint8 [3, h, w] RGB.
        boxes: [G, 4] of each image, in its pixels.
    """
    heads = model.roi_heads
    if heads is None:
        raise ValueError(
            "a one-stage detector has no second stage, which judges boxes; take a two-stage one"
        )
    trace = model.run(images, masks=False)
    counts = [len(each) for each in boxes]
    sizes = [(w, h, w, h) for h, w in map(size_of, images)]
    limits = torch.tensor(sizes, dtype=torch.float32).repeat_interleave(torch.tensor(counts), dim=0)
    levels = [trace.features[name] for name in heads.in_features]
    limits = limits.to(levels[0].device)
    with lower_precision(levels[0], model.inference_dtype):
        outputs = heads.refine(levels, number_boxes(boxes), limits)
    probabilities = heads.mean_probabilities(outputs)  # [R, C]
    refined = clip_to(_of_best_class(outputs[-1].boxes, probabilities), limits)
    columns = (torch.split(each, counts) for each in (refined, probabilities))
    return [Judgement(*each) for each in zip(*columns, trace.detections, strict=True)]


def _of_best_class(boxes: Tensor, probabilities: Tensor) -> Tensor:
    """Return [R, 4] of boxes [R, K, 4] that may depend on the class."""
    if boxes.shape[1] == 1:
        return boxes[:, 0]
    rows = torch.arange(len(boxes), device=boxes.device)
    return boxes[rows, probabilities.argmax(dim=1)]
