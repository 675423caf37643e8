"""Greedy non-maximum suppression, as a mask: for every box, whether it stays."""

import numpy as np
import torch
from torch import Tensor

from centernet2.ops.boxes import pairwise_iou

BLOCK = 256  # boxes that are decided together before they are compared with all later ones


def greedy_nms(boxes: Tensor, labels: Tensor | None, iou_threshold: float) -> Tensor:
    """Which of boxes [R, 4], best first, stay: [R] bool.

    A box removes every later one of its class whose IoU with it exceeds the threshold, if it has
    not been removed itself. Boxes are taken in blocks: in a block each box in turn removes those
    behind it; then the block's survivors remove boxes of all later blocks at once. Nothing waits
    for the device.

    Args:
        labels: [R]; None: one class.
    """
    threshold = _round_down(iou_threshold)
    stays = boxes.new_ones(len(boxes), dtype=torch.bool)
    for start in range(0, len(boxes), BLOCK):
        block = boxes[start : start + BLOCK]
        exceeds = pairwise_iou(block, boxes[start:]) > threshold  # [B, R - start]
        if labels is not None:
            exceeds &= labels[start : start + BLOCK, None] == labels[None, start:]
        inside, alive = exceeds[:, : len(block)].triu(1), stays[start : start + BLOCK]
        for i in range(len(block) - 1):
            alive = alive & ~(inside[i] & alive[i])
        removed = (exceeds[:, len(block) :] & alive[:, None]).any(dim=0)
        stays = torch.cat([stays[:start], alive, stays[start + BLOCK :] & ~removed])
    return stays


def _round_down(threshold: float) -> float:
    """The greatest float32 up to the threshold: a float32 IoU exceeds both or neither."""
    nearest = np.float32(threshold)
    if float(nearest) <= threshold:
        return float(nearest)
    return float(np.nextafter(nearest, np.float32(-np.inf)))
