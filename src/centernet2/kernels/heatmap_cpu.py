"""The target heat map on the CPU, which draws each peak only where it is not zero."""

import math

import torch
from torch import Tensor

from centernet2.ops.heatmap import MIN_HEAT, Shape, axis_distances, gaussian_heatmap

PEAK_COST = 1000  # drawing a peak takes as long as this many locations in the dense kernel


def heatmap_cpu(
    centers: Tensor,
    images: Tensor,
    labels: Tensor,
    squared_radius: Tensor,
    *,
    shape: Shape,
    stride: int,
) -> Tensor:
    """Kernel of `gaussian_heatmap`: peak by peak for few objects, otherwise dense."""
    if math.prod(shape) <= PEAK_COST * len(centers):
        return gaussian_heatmap(centers, images, labels, squared_radius, shape=shape, stride=stride)
    heat = centers.new_zeros(shape)
    if len(centers):
        _draw_peaks(heat, centers, torch.stack([images, labels], dim=1), squared_radius, stride)
    return heat


def _draw_peaks(
    heat: Tensor, centers: Tensor, planes: Tensor, squared_radius: Tensor, stride: int
) -> None:
    """Draw peaks into `heat` [N, H, W, C], at `planes` [G, 2] (image, class)."""
    _, height, width, _ = heat.shape
    half = stride // 2
    cells = (centers / stride).long()
    reach = (squared_radius * -math.log(MIN_HEAT)).sqrt()[:, None] + 1e-3  # [G, 1]
    low, high = (centers - reach - half) / stride, (centers + reach - half) / stride
    first = low.ceil().long().minimum(cells).clamp(min=0)  # [G, 2] of x, y
    last = (high.floor().long().maximum(cells) + 1).minimum(torch.tensor([width, height]))
    dx, dy = axis_distances(centers, height, width, stride)
    windows = torch.cat([first, last, cells, planes], dim=1).tolist()
    for g, (x1, y1, x2, y2, x, y, image, label) in enumerate(windows):
        if x1 >= x2 or y1 >= y2:
            continue
        distance = dy[g, y1:y2, None] + dx[g, x1:x2]
        if y1 <= y < y2 and x1 <= x < x2:
            distance[y - y1, x - x1] = 0
        peak = torch.exp(-(distance / squared_radius[g]))
        window = heat[image, y1:y2, x1:x2, label]
        torch.maximum(window, torch.where(peak < MIN_HEAT, 0.0, peak), out=window)
