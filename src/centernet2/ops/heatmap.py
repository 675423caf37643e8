"""The target heat map of the first stage (arXiv 1904.07850, section 4)."""

import torch
from torch import Tensor

MIN_HEAT = 1e-4  # smaller values become 0
MAX_DISTANCE = 1e8  # squared distance in units of the radius, if there is no object
CHUNK_PAIRS = 2**21  # objects x locations computed at once: 8 MiB

Shape = tuple[int, int, int, int]  # images, height, width, classes


def gaussian_heatmap(
    centers: Tensor,
    images: Tensor,
    labels: Tensor,
    squared_radius: Tensor,
    *,
    shape: Shape,
    stride: int,
) -> Tensor:
    """Draw the maximum of the Gaussian peaks of objects on a level: [N, H, W, C].

    A peak is exp(-distance^2 / radius^2), and 1 in the cell of the object's center. All objects are
    compared with all locations, so that nothing waits for the sizes of the peaks.

    Args:
        centers: [G, 2] (x, y) of the objects, in pixels of the model's input.
        images, labels: [G] index of each object in N and C.
        squared_radius: [G].
        stride: of the level; its locations are at (i + 1/2) * stride, rounded down.
    """
    n, height, width, classes = shape
    plane = images * classes + labels  # [G]
    nearest = squared_radius.new_full((n * classes, height * width), MAX_DISTANCE)
    chunk = max(1, CHUNK_PAIRS // (height * width))
    for start in range(0, len(plane), chunk):
        part = slice(start, start + chunk)
        distance = _squared_distances(centers[part], height, width, stride).flatten(1)
        distance = distance / squared_radius[part, None]
        nearest.scatter_reduce_(0, plane[part, None].expand_as(distance), distance, "amin")
    heat = torch.exp(-nearest)
    heat = torch.where(heat < MIN_HEAT, 0.0, heat)
    return heat.view(n, classes, height, width).permute(0, 2, 3, 1)


def axis_distances(centers: Tensor, height: int, width: int, stride: int) -> tuple[Tensor, Tensor]:
    """Compute squared distances of centers [G, 2] from columns [G, W] and rows [G, H]."""
    x, y = (torch.arange(count, device=centers.device) for count in (width, height))
    dx = (x * stride + stride // 2 - centers[:, :1]) ** 2
    dy = (y * stride + stride // 2 - centers[:, 1:]) ** 2
    return dx, dy


def _squared_distances(centers: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Compute squared distances [G, H, W] from locations; 0 in the center's cell."""
    cells = (centers / stride).long()
    x, y = (torch.arange(count, device=centers.device) for count in (width, height))
    dx, dy = axis_distances(centers, height, width, stride)
    peak = (y == cells[:, 1:])[:, :, None] & (x == cells[:, :1])[:, None, :]
    return torch.where(peak, 0.0, dy[:, :, None] + dx[:, None, :])
