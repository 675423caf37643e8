"""Greedy non-maximum suppression (NMS) that returns a mask of the kept boxes."""

import numpy as np
import torch
from torch import Tensor

from centernet2.ops.boxes import pairwise_iou

BLOCK = 256  # boxes that are processed together


def greedy_nms(boxes: Tensor, labels: Tensor | None, iou_threshold: float) -> Tensor:
    """Apply NMS to boxes [R, 4], best first; return a mask [R] bool of the kept ones.

    A kept box removes every later box of its class whose IoU with it exceeds the threshold. Boxes
    are processed in blocks: within a block one by one, then all kept boxes of the block remove
    boxes of later blocks at once. Nothing waits for the device.

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
    """Round down to float32, so that a float32 IoU exceeds both numbers or neither."""
    nearest = np.float32(threshold)
    if float(nearest) <= threshold:
        return float(nearest)
    return float(np.nextafter(nearest, np.float32(-np.inf)))
