"""RoIAlign (arXiv 1703.06870, section 3): features of a fixed size from regions of any size."""

import importlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
import torchvision
from torch import Tensor

from centernet2.ops.constants import constant
from centernet2.ops.dispatch import backend
from centernet2.ops.precision import full_precision


def roi_align(
    feature: Tensor, regions: Tensor, *, size: int, scale: float, sampling_ratio: int, aligned: bool
) -> Tensor:
    """Features [R, C, size, size] of regions of a map [N, C, h, w].

    Equal to `torchvision.ops.roi_align`, which is used on accelerators that it has a kernel for, and in programs that
    are compiled or exported. On the CPU it is the slowest part of a training step, because its gradient is added pixel
    by pixel in one thread; there, and on devices without a kernel, the same numbers come from matrix products. Each
    output cell is the mean of bilinear samples on a regular grid, so the weight of a pixel is the product of a weight
    of its row and a weight of its column.

    Args:
        regions: [R, 5] of image index and xyxy box in units of 1 / scale pixels of the map.
        sampling_ratio: samples per cell and axis; 0 takes as many as the cell has pixels, rounded up.
        aligned: pixel centres lie at 0.5, else at 0.
    """
    if has_own_kernel(feature):
        if feature.device.type == "npu" and backend("roi_align", "npu") == "torch_npu":
            return _npu_roi_align(feature, regions, size, scale, sampling_ratio, aligned)
        pooled: Tensor = torchvision.ops.roi_align(
            feature, regions.to(feature.dtype), size, scale, sampling_ratio, aligned
        )
        return pooled
    level = torch.zeros(len(regions), dtype=torch.long, device=regions.device)
    return _separable([feature], regions, level, size, [scale], sampling_ratio, aligned)


def pyramid_roi_align(
    features: Sequence[Tensor],
    regions: Tensor,
    level: Tensor,
    *,
    size: int,
    scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Features [R, C, size, size] of regions [R, 5], each from the map [N, C, h, w] that `level` [R] says."""
    if not has_own_kernel(features[0]):
        return _separable(features, regions, level, size, scales, sampling_ratio, aligned)
    options: dict[str, Any] = {"size": size, "sampling_ratio": sampling_ratio, "aligned": aligned}
    pooled = features[0].new_zeros(len(regions), features[0].shape[1], size, size)
    for i, (feature, scale) in enumerate(zip(features, scales, strict=True)):
        if torch.compiler.is_exporting():
            index = (level == i).nonzero().squeeze(1)
            part = roi_align(feature, regions[index], scale=scale, **options)
            pooled = pooled.index_put((index,), part.to(pooled.dtype))
        else:  # every region on every level, where those of other levels are empty and cost nothing
            own = level == i
            part = roi_align(
                feature, torch.where(own[:, None], regions, 0.0), scale=scale, **options
            )
            pooled = torch.where(own[:, None, None, None], part.to(pooled.dtype), pooled)
    return pooled


def has_own_kernel(feature: Tensor) -> bool:
    """Whether a kernel made for the map's device works on all regions at once, without a wait for their sizes."""
    if feature.device.type == "cpu":
        return torch.compiler.is_compiling() or torch.compiler.is_exporting()
    return backend("roi_align", feature.device.type) in ("torchvision", "torch_npu")


def _npu_roi_align(
    feature: Tensor, regions: Tensor, size: int, scale: float, sampling_ratio: int, aligned: bool
) -> Tensor:
    """Ascend's kernel, in single precision."""
    layer = importlib.import_module("torch_npu.contrib.module").ROIAlign
    return cast(
        Tensor,
        layer((size, size), scale, sampling_ratio, aligned=aligned)(
            feature.float(), regions.float()
        ),
    )


def _separable(
    features: Sequence[Tensor],
    regions: Tensor,
    level: Tensor,
    size: int,
    scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    dtype = torch.float64 if features[0].dtype == torch.float64 else torch.float32
    with full_precision(features[0]):
        windows = [
            _windows(
                regions.to(dtype),
                (level == i).nonzero().squeeze(1),
                feature,
                size,
                scale,
                sampling_ratio,
                aligned,
            )
            for i, (feature, scale) in enumerate(zip(features, scales, strict=True))
        ]
        maps = [feature.to(dtype) for feature in features]
        return cast(Tensor, _SeparableRoIAlign.apply(size, len(regions), windows, *maps))


class Windows(NamedTuple):
    """The pixels that the samples of some regions touch in a map, and their weights."""

    indices: list[int]  # of the regions
    starts: list[int]  # first pixel of each window: (image * h + y) * w + x
    extents: list[list[int]]  # width and height of each window
    rows: Tensor  # [R, size, at least height]
    columns: Tensor  # [R, size, at least width]


def _each(windows: Windows) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    """Region by region: its index, its first pixel, the weights of its rows and those of its columns."""
    for index, start, (width, height), rows, columns in zip(*windows, strict=True):
        yield index, start, rows[:, :height], columns[:, :width]


class _SeparableRoIAlign(torch.autograd.Function):
    """pooled = rows @ window @ columns^T for every region and channel; the gradient is the same product turned round.

    The windows are parts of the maps, whose channels lie together, and are never copied.
    """

    @staticmethod
    def forward(ctx: Any, size: int, count: int, levels: list[Windows], *maps: Tensor) -> Tensor:
        pooled = maps[0].new_empty(count, size, size, maps[0].shape[1])
        for windows, feature in zip(levels, maps, strict=True):
            pixels = feature.permute(0, 2, 3, 1).contiguous()  # [N, h, w, C]
            for index, start, rows, columns in _each(windows):
                strip = (rows @ _window(pixels, start, rows, columns)).view(
                    size, -1, pixels.shape[3]
                )
                torch.matmul(columns, strip, out=pooled[index])  # [size, width] @ [size, width, C]
        ctx.levels, ctx.shapes = levels, [feature.shape for feature in maps]
        return pooled.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad = grads[0].permute(0, 2, 3, 1)  # [R, size, size, C]
        results = []
        for windows, (n, c, h, w) in zip(ctx.levels, ctx.shapes, strict=True):
            pixels = grad.new_zeros(n, h, w, c)
            for index, start, rows, columns in _each(windows):
                strip = (columns.t() @ grad[index]).flatten(1)  # [size, width * C]
                _window(pixels, start, rows, columns).addmm_(rows.t(), strip)
            results.append(pixels.permute(0, 3, 1, 2))
        return None, None, None, *results


def _window(pixels: Tensor, start: int, rows: Tensor, columns: Tensor) -> Tensor:
    """The part [height, width * C] of maps [N, h, w, C] that rows [size, height] and columns [size, width] weigh."""
    w, c = pixels.shape[2:]
    return pixels.as_strided((rows.shape[1], columns.shape[1] * c), (w * c, 1), start * c)


def _windows(
    regions: Tensor,
    index: Tensor,
    feature: Tensor,
    size: int,
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Windows:
    """The windows of the regions `index` of [R, 5] in a map."""
    h, w = feature.shape[2:]
    if not len(index):
        return Windows([], [], [], *regions.new_zeros(2, 0, size, 1))
    regions = regions[index]
    image = regions[:, 0].long()
    low, high = (regions[:, 1:] * scale - (0.5 if aligned else 0.0)).chunk(
        2, dim=1
    )  # [R, 2] of x, y
    extent = high - low if aligned else (high - low).clamp(min=1)
    limit = constant([w, h], image)
    ends = torch.stack([low, low + extent])
    first = ends.amin(dim=0).floor().clamp(min=0).minimum(limit - 1).long()
    last = ends.amax(dim=0).floor().clamp(min=-1).minimum(limit - 2).long() + 1
    count = (last - first + 1).clamp(min=1)  # pixels that the samples touch, per axis
    sizes = count.tolist()
    widest, highest = (max(axis) for axis in zip(*sizes, strict=True))
    x, y = first.unbind(1)
    return Windows(
        index.tolist(),
        ((image * h + y) * w + x).tolist(),
        sizes,
        _weights(low[:, 1], extent[:, 1], h, y, highest, size, sampling_ratio),
        _weights(low[:, 0], extent[:, 0], w, x, widest, size, sampling_ratio),
    )


def _weights(
    low: Tensor,
    extent: Tensor,
    limit: int,
    start: Tensor,
    width: int,
    size: int,
    sampling_ratio: int,
) -> Tensor:
    """Weight [R, size, width] of each pixel start ... start + width - 1 of an axis of `limit` pixels, for each cell."""
    cell = extent / size  # [R]
    samples = (
        torch.full_like(cell, sampling_ratio) if sampling_ratio > 0 else cell.ceil().clamp(min=0)
    )
    offset = torch.arange(max(1, int(samples.max())), device=low.device)  # [S]
    step = (offset + 0.5) * (cell / samples.clamp(min=1)).unsqueeze(1)  # [R, S]
    position = (
        low.unsqueeze(1) + torch.arange(size, device=low.device) * cell.unsqueeze(1)
    ).unsqueeze(2) + step.unsqueeze(1)  # [R, size, S]
    counted = (position >= -1) & (position <= limit) & (offset < samples.view(-1, 1, 1))
    share = counted.to(cell.dtype) / samples.clamp(min=1).view(-1, 1, 1)
    position = position.clamp(0, limit - 1)
    floor = position.floor()
    fraction = position - floor
    pixel = floor.long() - start.view(-1, 1, 1)
    weights = low.new_zeros(len(low), size, width)
    weights.scatter_add_(2, pixel.clamp(0, width - 1), (1 - fraction) * share)
    return weights.scatter_add_(2, (pixel + 1).clamp(0, width - 1), fraction * share)
