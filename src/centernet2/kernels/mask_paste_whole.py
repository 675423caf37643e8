"""Pasting of masks at all pixels of an image, for some objects at a time."""

import torch
from torch import Tensor

from centernet2.ops.masks import stretch_masks

PASTED_AT_ONCE = 2**28  # pixels whose probabilities are in memory at a time: 1 GiB


def paste_masks_whole(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Kernel of `ops.masks.paste_masks` that does not copy the boxes to the host.

    Besides the output, at most `PASTED_AT_ONCE` numbers are in memory.
    """
    height, width = size
    pasted = torch.zeros(len(masks), height, width, dtype=torch.bool, device=masks.device)
    masks, boxes = masks.float(), boxes.float()
    step = max(1, PASTED_AT_ONCE // (height * width))
    for start in range(0, len(masks), step):
        part = slice(start, start + step)
        probability = stretch_masks(masks[part], boxes[part], (0, height), (0, width))
        pasted[part] = probability >= 0.5
    return pasted
