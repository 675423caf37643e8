"""RoIAlign (arXiv 1703.06870, section 3): features of a fixed size from regions of any size."""

import importlib
from contextlib import nullcontext
from typing import Any, cast

import torch
import torchvision
from torch import Tensor

from centernet2.ops.constants import constant
from centernet2.ops.dispatch import backend

WINDOW_STEP = 4  # regions are worked on together whose windows are equally large, rounded up to this many pixels
CHUNK_NUMBERS = 2**20  # how many numbers of the map are gathered at a time: what a processor's cache holds


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
        regions = regions.to(feature.dtype)
        pooled: Tensor = torchvision.ops.roi_align(feature, regions, size, scale, sampling_ratio, aligned)
        return pooled
    feature = feature if feature.dtype == torch.float64 else feature.float()
    regions = regions.to(feature.dtype)
    return cast(Tensor, _SeparableRoIAlign.apply(feature, regions, size, scale, sampling_ratio, aligned))


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
    return cast(Tensor, layer((size, size), scale, sampling_ratio, aligned=aligned)(feature.float(), regions.float()))


class _SeparableRoIAlign(torch.autograd.Function):
    """pooled = rows @ window @ columns^T for every region and channel; the gradient is the same product turned round.

    Written out, rather than left to autograd, so that no window is kept for the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, feature: Tensor, regions: Tensor, size: int, scale: float, sampling_ratio: int, aligned: bool
    ) -> Tensor:
        n, c, h, w = feature.shape
        device = feature.device.type
        with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
            pixels = feature.permute(0, 2, 3, 1).reshape(-1, c)  # [N h w, C]
            groups = _groups(regions, n, h, w, size, scale, sampling_ratio, aligned)
            pooled = feature.new_zeros(len(regions), size, size, c)
            for index, window, rows, columns in _chunks(groups, c):
                crop = pixels.index_select(0, window.flatten()).view(len(index), window.shape[1], -1)
                strip = (rows @ crop).view(len(index), size, -1, c)  # [R, size, width, C]
                pooled[index] = columns.unsqueeze(1) @ strip
        ctx.groups, ctx.shape = groups, feature.shape
        return pooled.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        n, c, h, w = ctx.shape
        grad = grads[0].permute(0, 2, 3, 1).contiguous()  # [R, size, size, C]
        result = grad.new_zeros(n * h * w, c)
        for index, window, rows, columns in _chunks(ctx.groups, c):
            strip = columns.transpose(1, 2).unsqueeze(1) @ grad[index]
            crop = rows.transpose(1, 2) @ strip.flatten(2)
            result.scatter_add_(0, window.reshape(-1, 1).expand(-1, c), crop.view(-1, c))
        return result.view(n, h, w, c).permute(0, 3, 1, 2), None, None, None, None, None


Group = tuple[
    Tensor, Tensor, Tensor, Tensor
]  # regions [R], pixels [R, kh, kw], rows [R, size, kh], columns [R, size, kw]


def _groups(
    regions: Tensor, n: int, h: int, w: int, size: int, scale: float, sampling_ratio: int, aligned: bool
) -> list[Group]:
    """Regions with windows of about the same size, with the pixels of the window and their weights."""
    if not len(regions):
        return []
    image = regions[:, 0].long()
    low, high = (regions[:, 1:] * scale - (0.5 if aligned else 0.0)).chunk(2, dim=1)  # [R, 2] of x, y
    extent = high - low if aligned else (high - low).clamp(min=1)
    limit = constant([w, h], image)
    ends = torch.stack([low, low + extent])
    first = ends.amin(dim=0).floor().clamp(min=0).minimum(limit - 1).long()
    last = ends.amax(dim=0).floor().clamp(min=-1).minimum(limit - 2).long() + 1
    count = (last - first + 1).clamp(min=1)  # pixels that the samples touch, per axis
    key = (count.amax(dim=1) + WINDOW_STEP - 1) // WINDOW_STEP
    groups = []
    for step in torch.unique(key):
        index = (key == step).nonzero().squeeze(1)
        kw, kh = count[index].amax(dim=0).tolist()
        x, y = first[index].minimum(limit - constant([kw, kh], image)).unbind(1)
        columns = _weights(low[index, 0], extent[index, 0], w, x, kw, size, sampling_ratio)
        rows = _weights(low[index, 1], extent[index, 1], h, y, kh, size, sampling_ratio)
        row = (image[index] * h + y).view(-1, 1, 1) + torch.arange(kh, device=image.device).view(-1, 1)
        groups.append((index, row * w + x.view(-1, 1, 1) + torch.arange(kw, device=image.device), rows, columns))
    return groups


def _chunks(groups: list[Group], channels: int) -> list[Group]:
    """The same in pieces whose windows fit the cache."""
    pieces = []
    for group in groups:
        length = max(1, CHUNK_NUMBERS // (group[1][0].numel() * channels))
        pieces += [(index, *rest) for index, *rest in zip(*(torch.split(part, length) for part in group), strict=True)]
    return cast(list[Group], pieces)


def _weights(
    low: Tensor, extent: Tensor, limit: int, start: Tensor, width: int, size: int, sampling_ratio: int
) -> Tensor:
    """Weight [R, size, width] of each pixel start ... start + width - 1 of an axis of `limit` pixels, for each cell."""
    cell = extent / size  # [R]
    samples = torch.full_like(cell, sampling_ratio) if sampling_ratio > 0 else cell.ceil().clamp(min=0)
    offset = torch.arange(max(1, int(samples.max())), device=low.device)  # [S]
    step = (offset + 0.5) * (cell / samples.clamp(min=1)).unsqueeze(1)  # [R, S]
    position = (low.unsqueeze(1) + torch.arange(size, device=low.device) * cell.unsqueeze(1)).unsqueeze(
        2
    ) + step.unsqueeze(1)  # [R, size, S]
    counted = (position >= -1) & (position <= limit) & (offset < samples.view(-1, 1, 1))
    share = counted.to(cell.dtype) / samples.clamp(min=1).view(-1, 1, 1)
    position = position.clamp(0, limit - 1)
    floor = position.floor()
    fraction = position - floor
    pixel = floor.long() - start.view(-1, 1, 1)
    weights = low.new_zeros(len(low), size, width)
    weights.scatter_add_(2, pixel.clamp(0, width - 1), (1 - fraction) * share)
    return weights.scatter_add_(2, (pixel + 1).clamp(0, width - 1), fraction * share)
