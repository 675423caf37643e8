"""The operators that layers and models call; `dispatch.py` chooses what runs them."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from centernet2.kernels.dispatch import current_situation, kernel_for
from centernet2.ops.heatmap import Shape


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Sequence[int],
    *,
    gain: Tensor | None = None,
) -> Tensor:
    """torch.nn.functional.conv2d(x, weight * gain, bias), with a gain [O] that is not trained.

    Args:
        geometry: stride, padding and dilation, two numbers each, and groups.
    """
    situation = current_situation()
    if situation == "compiled" and not weight.is_contiguous():
        # the tracer assumes that normalization returns contiguous tensors; follow the weights
        x = x.contiguous(memory_format=torch.channels_last)
    return cast(Tensor, kernel_for("conv2d", x, situation).run(x, weight, bias, geometry, gain))


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
    """A convolution [N, O, h, w] at learned offsets; see `ops.deform_conv.deform_conv2d`."""
    run = kernel_for("deform_conv2d", x).run
    result = run(
        x,
        offset,
        weight,
        bias,
        stride=stride,
        padding=padding,
        dilation=dilation,
        mask=mask,
    )
    return cast(Tensor, result)


def draw_heatmap(
    centers: Tensor,
    images: Tensor,
    labels: Tensor,
    squared_radius: Tensor,
    *,
    shape: Shape,
    stride: int,
) -> Tensor:
    """The target heat map [N, H, W, C] of a level; see `ops.heatmap.gaussian_heatmap`."""
    run = kernel_for("heatmap", centers).run
    return cast(Tensor, run(centers, images, labels, squared_radius, shape=shape, stride=stride))


def nms_mask(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor | None,
    iou_threshold: float,
    *,
    limit: int | None = None,
) -> Tensor:
    """Which of boxes [R, 4], best first, stay: [R] bool, see `ops.nms.greedy_nms`.

    Args:
        scores: [R], falling; a negative one marks padding, which never stays.
        labels: [R]; None: one class.
        limit: stop when this many stay, and those that tie with the last of them.
    """
    boxes, scores = boxes.float(), scores.float()
    limit = len(boxes) if limit is None else limit
    if current_situation() == "exported":
        return _run_nms(boxes, scores, labels, iou_threshold, limit)
    return cast(Tensor, _nms_mask(boxes, scores, labels, iou_threshold, limit))


def nms_per_class(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes [R, 4] of each class that stay, best first.

    boxes [R, 4] float, scores [R], labels [R].
    """
    order = scores.argsort(descending=True, stable=True)
    return order[nms_mask(boxes[order], scores[order], labels[order], iou_threshold)]


def paste_box_masks(
    masks: Tensor, boxes: Tensor, size: tuple[int, int], *, threshold: float = 0.5
) -> Tensor:
    """Masks bool [D, H, W] of boxes [D, 4]; see `ops.masks.paste_masks`."""
    run = kernel_for("paste_masks", masks).run
    return cast(Tensor, run(masks, boxes, size, threshold=threshold))


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
    """Features [R, C, size, size] of RoIs [R, 5], each from the feature map of its `level` [R].

    See `ops.roi_align.roi_align`.
    """
    run = kernel_for("roi_align", features[0]).run
    pooled = run(
        features,
        rois,
        level,
        size=size,
        scales=scales,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    )
    return cast(Tensor, pooled)


def _run_nms(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor:
    run = kernel_for("nms", boxes).run
    return cast(Tensor, run(boxes, scores, labels, iou_threshold, limit))


# one operator, so that a compiled program calls it as it is
_nms_mask = torch.library.custom_op("centernet2::nms_mask", _run_nms, mutates_args=())


@_nms_mask.register_fake
def _(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)
