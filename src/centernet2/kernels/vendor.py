"""Kernels by torchvision, torch-npu and plain tensor operations."""

import importlib
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from centernet2.ops.nms import greedy_nms

# maximum number of boxes of several classes that one call takes; more are faster class by class
APART_ON_CPU, APART = 1_000, 25_000
CLASSES_IN_A_ROW = 32  # of the places to which boxes of several classes are moved


def nms_torchvision(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor:
    """Kernel of `operators.nms_mask` by torchvision."""
    return kept_by_torchvision(boxes, scores, labels, iou_threshold) & (scores >= 0)


def kept_by_torchvision(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float
) -> Tensor:
    """Return a mask of the boxes that torchvision's NMS keeps, including padding."""
    load_torchvision_operators()
    kept = torch.zeros_like(scores, dtype=torch.bool)
    if len(boxes) == 0:
        return kept
    nms = torch.ops.torchvision.nms
    if labels is None:
        return kept.index_fill(0, nms(boxes, scores, iou_threshold), True)
    if len(boxes) <= (APART_ON_CPU if boxes.device.type == "cpu" else APART):
        apart = _move_apart(boxes, labels)
        return kept.index_fill(0, nms(apart, scores, iou_threshold), True)
    for label in torch.unique(labels):
        rows = (labels == label).nonzero().squeeze(1)
        kept[rows[nms(boxes[rows], scores[rows], iou_threshold)]] = True
    return kept


def _move_apart(boxes: Tensor, labels: Tensor) -> Tensor:
    """Move boxes [R, 4] so that those of different classes do not meet.

    The places of the classes form a grid: with all in one row, float32 would round the coordinates
    of the last of a thousand classes to an eighth of a pixel.
    """
    side = boxes.max() - boxes.min() + 1
    place = torch.stack([labels % CLASSES_IN_A_ROW, labels // CLASSES_IN_A_ROW], dim=1)  # [R, 2]
    return boxes + (place.to(boxes) * side).repeat(1, 2)


@cache
def load_torchvision_operators() -> None:
    """Register the operators of torchvision, without a gradient.

    Importing torchvision registers them with their gradients. But that takes as long as importing
    torch, because it also imports data sets, models and the compiler of PyTorch.
    """
    if "torchvision" in sys.modules:
        return
    spec = find_spec("torchvision")
    folders = [] if spec is None else spec.submodule_search_locations or []
    libraries = [file for folder in folders for file in sorted(Path(folder).glob("_C*.so"))]
    for library in libraries:
        torch.ops.load_library(library)  # type: ignore[no-untyped-call]
    if not libraries:  # on Windows, the import finds what the library needs
        importlib.import_module("torchvision")


def nms_npu(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor:
    """Kernel of `operators.nms_mask` by Ascend's NonMaxSuppressionV4.

    It returns one index per box, of which the first `count` are valid.
    """
    kernels = importlib.import_module("torch_npu")
    boxes = boxes if labels is None else _move_apart(boxes, labels)
    # the score threshold is below the score of padding
    threshold, no_threshold = (
        torch.full((), value, device=boxes.device) for value in (iou_threshold, -2.0)
    )
    index, count = kernels.npu_nms_v4(boxes, scores, len(boxes), threshold, no_threshold)
    valid = torch.arange(len(index), device=boxes.device) < count
    kept = torch.zeros_like(scores).index_add(0, index.long(), valid.to(scores.dtype)) > 0
    return kept & (scores >= 0)


def nms_portable(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, iou_threshold: float, limit: int
) -> Tensor:
    """Kernel of `operators.nms_mask` by plain tensor operations."""
    return greedy_nms(boxes, labels, iou_threshold) & (scores >= 0)


def roi_align_torchvision(
    features: Sequence[Tensor],
    rois: Tensor,
    level: Tensor,
    *,
    size: int,
    scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Kernel of `operators.pyramid_roi_align` by torchvision, level by level.

    In float32: half precision knows no parts of a pixel, and bfloat16 not even every pixel.
    """
    import torchvision  # which registers gradients

    def pool(feature: Tensor, own: Tensor, scale: float) -> Tensor:
        dtype = torch.promote_types(feature.dtype, torch.float32)
        pooled: Tensor = torchvision.ops.roi_align(
            feature.to(dtype), own.to(dtype), size, scale, sampling_ratio, aligned
        )
        return pooled

    return _pool_by_level(pool, features, rois, level, size, scales)


def roi_align_npu(
    features: Sequence[Tensor],
    rois: Tensor,
    level: Tensor,
    *,
    size: int,
    scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Kernel of `operators.pyramid_roi_align` by Ascend, level by level, in float32."""
    layer = importlib.import_module("torch_npu.contrib.module").ROIAlign

    def pool(feature: Tensor, own: Tensor, scale: float) -> Tensor:
        align = layer((size, size), scale, sampling_ratio, aligned=aligned)
        return cast(Tensor, align(feature.float(), own.float()))

    return _pool_by_level(pool, features, rois, level, size, scales)


def deform_conv_torchvision(
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
    """Kernel of deformable convolution by torchvision, in the precision of the weight."""
    import torchvision  # which registers gradients

    out: Tensor = torchvision.ops.deform_conv2d(
        x.to(weight.dtype),
        offset,
        weight,
        bias,
        stride=stride,
        padding=padding,
        dilation=dilation,
        mask=mask,
    )
    return out


def _pool_by_level(
    pool: Callable[[Tensor, Tensor, float], Tensor],
    features: Sequence[Tensor],
    rois: Tensor,
    level: Tensor,
    size: int,
    scales: Sequence[float],
) -> Tensor:
    pooled = features[0].new_zeros(rois.shape[0], features[0].shape[1], size, size)
    for i, (feature, scale) in enumerate(zip(features, scales, strict=True)):
        if torch.compiler.is_exporting():
            index = (level == i).nonzero().squeeze(1)
            pooled = pooled.index_put((index,), pool(feature, rois[index], scale).to(pooled.dtype))
        else:  # every RoI on every level; those of other levels are empty and cost nothing
            own = level == i
            part = pool(feature, torch.where(own[:, None], rois, 0.0), scale)
            pooled = torch.where(own[:, None, None, None], part.to(pooled.dtype), pooled)
    return pooled
