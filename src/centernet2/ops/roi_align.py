"""Definition of RoIAlign (arXiv 1703.06870, section 3)."""

import torch
from torch import Tensor


def roi_align(
    feature: Tensor, rois: Tensor, *, size: int, scale: float, sampling_ratio: int, aligned: bool
) -> Tensor:
    """Pool features [R, C, size, size] of RoIs from a feature map [N, C, H, W].

    Each output cell is the mean of bilinear samples on a regular grid. So the weight of a pixel is
    the product of a weight of its row and a weight of its column, and the features of an RoI are
    rows [size, H] @ feature map [C, H, W] @ columns [size, W]^T.

    Args:
        rois: [R, 5] of image index and xyxy box in units of 1 / scale pixels of the feature map.
        sampling_ratio: samples per cell and axis; 0: as many as the cell has pixels, rounded up.
        aligned: pixel centers are at 0.5, otherwise at 0.
    """
    h, w = feature.shape[2:]
    low, extent = roi_extents(rois, scale, aligned)
    start = torch.zeros(len(rois), dtype=torch.long, device=rois.device)
    rows = axis_weights(low[:, 1], extent[:, 1], h, start, h, size, sampling_ratio)
    columns = axis_weights(low[:, 0], extent[:, 0], w, start, w, size, sampling_ratio)
    pooled = feature.new_zeros(len(rois), feature.shape[1], size, size)
    for i, image in enumerate(rois[:, 0].long()):
        window = feature[image] @ columns[i].to(feature.dtype).t()  # [C, H, size]
        pooled[i] = rows[i].to(feature.dtype) @ window
    return pooled


def roi_extents(rois: Tensor, scale: float, aligned: bool) -> tuple[Tensor, Tensor]:
    """Return corners and sizes [R, 2] (x, y) of RoIs [R, 5], in feature map pixels."""
    low, high = (rois[:, 1:] * scale - (0.5 if aligned else 0.0)).chunk(2, dim=1)
    return low, high - low if aligned else (high - low).clamp(min=1)


def axis_weights(
    low: Tensor,
    extent: Tensor,
    limit: int,
    start: Tensor,
    width: int,
    size: int,
    sampling_ratio: int,
) -> Tensor:
    """Compute weights [R, size, width] of an axis' pixels in the `size` cells of RoIs.

    Args:
        low, extent: [R] start and length of the RoIs.
        limit: pixels of the axis; samples more than one pixel outside count as 0.
        start, width: compute the weights of pixels start ... start + width - 1; start is [R].
    """
    cell = extent / size  # [R]
    samples = (
        torch.full_like(cell, sampling_ratio) if sampling_ratio > 0 else cell.ceil().clamp(min=0)
    )
    offset = torch.arange(max(1, int(samples.max())) if len(cell) else 1, device=low.device)  # [S]
    step = (offset + 0.5) * (cell / samples.clamp(min=1)).unsqueeze(1)  # [R, S]
    corner = low.unsqueeze(1) + torch.arange(size, device=low.device) * cell.unsqueeze(1)
    position = corner.unsqueeze(2) + step.unsqueeze(1)  # [R, size, S]
    counted = (position >= -1) & (position <= limit) & (offset < samples.view(-1, 1, 1))
    share = counted.to(cell.dtype) / samples.clamp(min=1).view(-1, 1, 1)
    position = position.clamp(0, limit - 1)
    floor = position.floor()
    fraction = position - floor
    pixel = floor.long() - start.view(-1, 1, 1)
    weights = low.new_zeros(len(low), size, width)
    weights.scatter_add_(2, pixel.clamp(0, width - 1), (1 - fraction) * share)
    return weights.scatter_add_(2, (pixel + 1).clamp(0, width - 1), fraction * share)
