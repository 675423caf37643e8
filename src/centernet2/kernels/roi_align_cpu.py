"""RoIAlign as matrix products, RoI by RoI, on views of feature maps.

On the CPU torchvision's kernel is the slowest part of a training step, because its backward pass
adds gradients pixel by pixel in one thread. Also for devices without their own kernel.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from centernet2.ops.roi_align import axis_weights, roi_extents
from centernet2.ops.tensors import constant, full_precision


class RoIWindows(NamedTuple):
    """Windows of a feature map that RoIs are pooled from, and weights of their pixels."""

    indices: list[int]  # of the RoIs
    starts: list[int]  # first pixel of each window: (image * h + y) * w + x
    extents: list[list[int]]  # width and height of each window
    rows: Tensor  # [R, size, at least height]
    columns: Tensor  # [R, size, at least width]

    def each(self) -> Iterator[tuple[int, int, Tensor, Tensor]]:
        """Yield (index, first pixel, weights of rows, weights of columns) of each RoI."""
        for index, start, (width, height), rows, columns in zip(*self, strict=True):
            yield index, start, rows[:, :height], columns[:, :width]


def roi_align_cpu(
    features: Sequence[Tensor],
    rois: Tensor,
    level: Tensor,
    *,
    size: int,
    scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Kernel of `ops.roi_align.roi_align` in float32, with each RoI on its level."""
    dtype = torch.promote_types(features[0].dtype, torch.float32)
    with full_precision(features[0]):
        windows = []
        for i, (feature, scale) in enumerate(zip(features, scales, strict=True)):
            index = (level == i).nonzero().squeeze(1)
            own = rois[index].to(dtype)
            windows.append(_windows(own, index, feature, size, scale, sampling_ratio, aligned))
        maps = [feature.to(dtype) for feature in features]
        return cast(Tensor, _SeparableRoIAlign.apply(size, len(rois), windows, *maps))


class _SeparableRoIAlign(torch.autograd.Function):
    """rows @ window @ columns^T for every RoI; the gradient is the transposed product."""

    @staticmethod
    def forward(ctx: Any, size: int, count: int, levels: list[RoIWindows], *maps: Tensor) -> Tensor:
        pooled = maps[0].new_empty(count, size, size, maps[0].shape[1])
        for windows, feature in zip(levels, maps, strict=True):
            pixels = feature.permute(0, 2, 3, 1).contiguous()  # [N, h, w, C]
            for index, start, rows, columns in windows.each():
                strip = rows @ _window(pixels, start, rows, columns)
                strip = strip.view(size, -1, pixels.shape[3])
                torch.matmul(columns, strip, out=pooled[index])  # [size, width] @ [size, width, C]
        ctx.levels, ctx.shapes = levels, [feature.shape for feature in maps]
        return pooled.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad = grads[0].permute(0, 2, 3, 1)  # [R, size, size, C]
        results = []
        for windows, (n, c, h, w) in zip(ctx.levels, ctx.shapes, strict=True):
            pixels = grad.new_zeros(n, h, w, c)
            for index, start, rows, columns in windows.each():
                strip = (columns.t() @ grad[index]).flatten(1)  # [size, width * C]
                _window(pixels, start, rows, columns).addmm_(rows.t(), strip)
            results.append(pixels.permute(0, 3, 1, 2))
        return None, None, None, *results


def _window(pixels: Tensor, start: int, rows: Tensor, columns: Tensor) -> Tensor:
    """Return a view [height, width * C] of an RoI's window in pixels [N, h, w, C].

    rows [size, height], columns [size, width].
    """
    w, c = pixels.shape[2:]
    shape, offset = (rows.shape[1], columns.shape[1] * c), pixels.storage_offset() + start * c
    return pixels.as_strided(shape, (w * c, 1), offset)


def _windows(
    rois: Tensor,
    index: Tensor,
    feature: Tensor,
    size: int,
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> RoIWindows:
    """Compute the windows of RoIs [R, 5], numbered by `index` [R], on a feature map."""
    h, w = feature.shape[2:]
    if not len(index):
        return RoIWindows([], [], [], *rois.new_zeros(2, 0, size, 1))
    low, extent = roi_extents(rois, scale, aligned)  # [R, 2] of x, y
    image = rois[:, 0].long()
    limit = constant([w, h], image)
    ends = torch.stack([low, low + extent])
    first = ends.amin(dim=0).floor().clamp(min=0).minimum(limit - 1).long()
    last = ends.amax(dim=0).floor().clamp(min=-1).minimum(limit - 2).long() + 1
    sizes = (last - first + 1).clamp(min=1).tolist()  # pixels that the samples touch, per axis
    widest, highest = (max(axis) for axis in zip(*sizes, strict=True))
    x, y = first.unbind(1)
    return RoIWindows(
        index.tolist(),
        ((image * h + y) * w + x).tolist(),
        sizes,
        axis_weights(low[:, 1], extent[:, 1], h, y, highest, size, sampling_ratio),
        axis_weights(low[:, 0], extent[:, 0], w, x, widest, size, sampling_ratio),
    )
