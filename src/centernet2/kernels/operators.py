"""Operators that layers and models call; `dispatch.py` chooses their kernels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from centernet2.kernels.dispatch import current_situation, kernel_for
from centernet2.kernels.nms_exported import nms_of_batch
from centernet2.kernels.opaque_operators import opaque_operator
from centernet2.ops.heatmap import Shape

FARTHEST = 1e5  # pixels; farther corners of RoIs only add samples outside every image


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Sequence[int],
    *,
    gain: Tensor | None = None,
) -> Tensor:
    """Compute F.conv2d(x, weight * gain, bias), with a fixed gain [O].

    Args:
        geometry: stride, padding and dilation, two numbers each, and groups.
    """
    situation = current_situation()
    if situation == "compiled" and not weight.is_contiguous():
        # follow the format of the weights: the tracer assumes contiguous outputs of normalization
        x = x.contiguous(memory_format=torch.channels_last)
    return kernel_for("conv2d", x, situation).run(x, weight, bias, geometry, gain)


def deformable_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    mask: Tensor | None,
) -> Tensor:
    """Convolve at learned offsets: [N, O, h, w]; see `ops.deform_conv.deform_conv2d`."""
    return kernel_for("deform_conv2d", x).run(
        x, offset, weight, bias, stride=stride, padding=padding, dilation=dilation, mask=mask
    )


def draw_heatmap(
    centers: Tensor,
    images: Tensor,
    labels: Tensor,
    squared_radius: Tensor,
    *,
    shape: Shape,
    stride: int,
) -> Tensor:
    """Draw a target heat map [N, H, W, C]; see `ops.heatmap.gaussian_heatmap`."""
    return kernel_for("heatmap", centers).run(
        centers, images, labels, squared_radius, shape=shape, stride=stride
    )


def nms_mask(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor | None,
    iou_threshold: float,
    *,
    limit: int | None = None,
) -> Tensor:
    """Return a mask [R] of the boxes that NMS keeps; see `ops.nms.greedy_nms`.

    Args:
        scores: [R], descending; negative scores mark padding, which is never kept.
        labels: [R]; None: one class.
        limit: stop when this many boxes are kept, and those that tie with the last of them.
    """
    boxes, scores = boxes.float(), scores.float()
    limit = len(boxes) if limit is None else limit
    return _nms_mask(boxes, scores, labels, iou_threshold, limit)


def nms_masks(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    iou_threshold: float,
    *,
    limit: int,
    num_classes: int,
) -> Tensor:
    """Return a mask [N, R] of the boxes that NMS per class keeps in each image.

    Args:
        boxes, scores, labels: [N, R, ...], see `nms_mask`; with one class, labels are not read.
    """
    if current_situation() == "exported":
        return nms_of_batch(boxes.float(), scores.float(), labels, iou_threshold, num_classes)
    return torch.stack(
        [
            nms_mask(b, s, None if num_classes == 1 else c, iou_threshold, limit=limit)
            for b, s, c in zip(boxes, scores, labels, strict=True)
        ]
    )


def nms_per_class(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """Apply NMS per class to boxes [R, 4]; return indices of kept boxes, best first."""
    order = scores.argsort(descending=True, stable=True)
    return order[nms_mask(boxes[order], scores[order], labels[order], iou_threshold)]


def paste_box_masks(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Paste masks at boxes [D, 4]: bool [D, H, W]; see `ops.masks.paste_masks`."""
    return kernel_for("paste_masks", masks).run(masks, boxes, size)


def pyramid_roi_align(
    features: Sequence[Tensor],
    rois: Tensor,
    level: Tensor,
    *,
    size: int,
    scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Pool features [R, C, size, size] of RoIs [R, 5], each from its `level` [R].

    See `ops.roi_align.roi_align`. Training that diverges gives boxes of any size, and NaN.
    """
    if current_situation() != "exported":  # what is exported has not diverged
        rois = rois.nan_to_num(nan=0.0).clamp(-FARTHEST, FARTHEST)
        level = level.clamp(0, len(features) - 1)
    return kernel_for("roi_align", features[0]).run(
        features,
        rois,
        level,
        size=size,
        scales=scales,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    )


def _run_nms(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor:
    return kernel_for("nms", boxes).run(boxes, scores, labels, iou_threshold, limit)


def _shape_of_mask(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


_nms_mask = opaque_operator("nms_mask", _run_nms, _shape_of_mask)
