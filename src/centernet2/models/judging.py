"""What a detector says about given boxes, such as the labels of a data set."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from centernet2.models.detector import Detector
from centernet2.models.roi_heads.cascade import limits_of
from centernet2.models.roi_heads.pooler import number_boxes
from centernet2.ops.boxes import clip_to
from centernet2.ops.tensors import lower_precision, of_labels
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
    levels, limits = heads.levels(trace.features), limits_of(boxes, trace.sizes)
    with lower_precision(levels[0], model.inference_dtype):
        outputs = heads.refine(levels, number_boxes(boxes), limits)
    probabilities = heads.mean_probabilities(outputs)  # [R, C]
    refined = clip_to(of_labels(outputs[-1].boxes, probabilities.argmax(dim=1)), limits)
    counts = [len(each) for each in boxes]
    columns = (torch.split(each, counts) for each in (refined, probabilities))
    return [Judgement(*each) for each in zip(*columns, trace.detections, strict=True)]
