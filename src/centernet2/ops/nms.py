"""Non-maximum suppression whose result has a size known beforehand: for every box, whether it stays."""

import importlib

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from centernet2.ops.boxes import pairwise_iou
from centernet2.ops.dispatch import backend
from centernet2.ops.nms_sparse import sparse_nms

SPARSE_BOXES, SPARSE_OVERLAP = (
    1000,
    0.85,
)  # from these on, looking for pairs that overlap beats trying all
BLOCK = 256  # boxes whose fate is settled together before they are held against all later ones


def nms_per_class(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """Indices of boxes, best first, no two of a class overlapping by more than `iou_threshold`.

    boxes [R, 4] float, scores [R], labels [R].
    """
    order = scores.argsort(descending=True, stable=True)
    return order[nms_mask(boxes[order], scores[order], labels[order], iou_threshold)]


def nms_mask(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor | None,
    iou_threshold: float,
    *,
    limit: int | None = None,
) -> Tensor:
    """Which of boxes [R, 4], best first, stay: [R] bool, so that no two of a class overlap by more than the threshold.

    Args:
        scores: [R], falling; a negative one marks padding, which never stays.
        labels: [R]; None: one class.
        limit: so many that stay are enough, and those that tie with the last of them; the mask may end there.
    """
    boxes, scores = boxes.float(), scores.float()
    if torch.compiler.is_exporting():
        return _torchvision_mask(boxes, scores, labels, iou_threshold) & (scores >= 0)
    mask: Tensor = _nms_mask(
        boxes, scores, labels, iou_threshold, len(boxes) if limit is None else limit
    )
    return mask


@torch.library.custom_op("centernet2::nms_mask", mutates_args=())
def _nms_mask(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor:
    """One operator, so that a compiled program calls it as it is."""
    chosen = backend("nms", boxes.device.type)
    if boxes.device.type == "cpu":
        return _cpu_mask(boxes, scores, labels, iou_threshold, limit)
    if chosen == "torchvision":
        mask = _torchvision_mask(boxes, scores, labels, iou_threshold)
    elif chosen == "torch_npu":
        mask = _npu_mask(boxes, scores, labels, iou_threshold)
    else:
        mask = portable_mask(boxes, labels, iou_threshold)
    return mask & (scores >= 0)


@_nms_mask.register_fake
def _(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


def _cpu_mask(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor:
    total = int((scores >= 0).sum())
    valid = boxes[:total], scores[:total], None if labels is None else labels[:total]
    stay = None
    if total >= SPARSE_BOXES and SPARSE_OVERLAP <= iou_threshold < 1:
        stay = sparse_nms(*valid, iou_threshold, limit)
    if stay is None:
        stay = _stepwise_nms(*valid, iou_threshold, limit)
    return torch.zeros_like(scores, dtype=torch.bool).index_fill(0, stay, True)


def _stepwise_nms(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor:
    """Rows that stay. Takes the best boxes first, and stops where enough stay: what comes later changes nothing before.

    Each round holds those that stay so far against some more, so that no box which has gone is looked at again.
    """
    stay, seen, length = torch.arange(0), 0, limit + limit // 4
    while seen < len(boxes) and not (len(stay) >= limit and scores[seen] < scores[stay[limit - 1]]):
        rows = torch.cat([stay, torch.arange(seen, min(len(boxes), seen + length))])
        mask = _torchvision_mask(
            boxes[rows], scores[rows], None if labels is None else labels[rows], iou_threshold
        )
        stay, seen, length = rows[mask], seen + length, 2 * length
    return stay


def _torchvision_mask(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float
) -> Tensor:
    if labels is None:
        keep: Tensor = torch.ops.torchvision.nms(boxes, scores, iou_threshold)
    else:
        keep = batched_nms(boxes, scores, labels, iou_threshold)
    return torch.zeros_like(scores, dtype=torch.bool).index_fill(0, keep, True)


def _npu_mask(boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float) -> Tensor:
    """Ascend's NonMaxSuppressionV4: as many indices as boxes, of which the first `count` mean something."""
    kernels = importlib.import_module("torch_npu")
    if labels is not None:  # boxes of different classes are moved apart
        boxes = boxes + labels[:, None].to(boxes.dtype) * (boxes.max() + 1)
    index, count = kernels.npu_nms_v4(
        boxes,
        scores,
        len(boxes),
        torch.full((), iou_threshold, device=boxes.device),
        torch.full(
            (), -2.0, device=boxes.device
        ),  # below padding's score: the threshold is not used
    )
    means = torch.arange(len(index), device=boxes.device) < count
    return torch.zeros_like(scores).index_add(0, index.long(), means.to(scores.dtype)) > 0


def portable_mask(boxes: Tensor, labels: Tensor | None, iou_threshold: float) -> Tensor:
    """The same from plain tensor operations, without any wait for the device: [R] bool of boxes [R, 4], best first.

    Boxes are taken in blocks. In a block each box in turn, once its own fate is settled, removes those behind it;
    then the block's survivors remove boxes of all later blocks at once.
    """
    threshold = _round_down(iou_threshold)
    stays = boxes.new_ones(len(boxes), dtype=torch.bool)
    for start in range(0, len(boxes), BLOCK):
        block = boxes[start : start + BLOCK]
        overlaps = pairwise_iou(block, boxes[start:]) > threshold  # [B, R - start]
        if labels is not None:
            overlaps &= labels[start : start + BLOCK, None] == labels[None, start:]
        inside, alive = overlaps[:, : len(block)].triu(1), stays[start : start + BLOCK]
        for i in range(len(block) - 1):
            alive = alive & ~(inside[i] & alive[i])
        removed = (overlaps[:, len(block) :] & alive[:, None]).any(dim=0)
        stays = torch.cat([stays[:start], alive, stays[start + BLOCK :] & ~removed])
    return stays


def _round_down(threshold: float) -> float:
    """The greatest float32 that is no greater: an overlap in float32 exceeds it where it exceeds the number given."""
    nearest = np.float32(threshold)
    return float(
        nearest if float(nearest) <= threshold else np.nextafter(nearest, np.float32(-np.inf))
    )
