"""Targets of the first stage for given boxes: heat map, box distances, positive locations.

Locations of a batch are numbered level by level, inside a level image by image, inside an image row
by row. The objects of all images stand in one list, with the index of their image beside them.
Every tensor's size follows from the number of objects and the size of the maps alone; what does not
apply is masked out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from centernet2.kernels import draw_heatmap
from centernet2.ops.boxes import box_area, box_centers, boxes_to_ltrb
from centernet2.ops.tensors import constant
from centernet2.structures import Target

NOT_REGRESSED = -1e8
FAR_AWAY = -(2.0**20)  # all coordinates of a padded object: no location is near
INFINITE_DISTANCE = 1e8


class Objects(NamedTuple):
    """The ground truth of a batch in one list."""

    boxes: Tensor  # [G, 4] xyxy
    labels: Tensor  # [G]
    images: Tensor  # [G] index of the image in the batch


class Level(NamedTuple):
    """One feature level."""

    height: int
    width: int
    stride: int
    first: int  # number of the level's first location in the batch
    min_size: float  # an object belongs here when half its diagonal lies between the two
    max_size: float


class Positives(NamedTuple):
    """Locations that should fire."""

    locations: Tensor  # [P] numbers of locations
    labels: Tensor  # [P]
    valid: Tensor  # [P] bool: the others are padding


class Neighbors(NamedTuple):
    """The 3 x 3 locations around each object's center, on every level."""

    locations: Tensor  # [G, L, 9] number of the location, 0 where it lies outside the map
    inside: Tensor  # [G, L, 9] bool: on the map
    ltrb: Tensor  # [G, L, 9, 4] distances to the object's box, in pixels
    offset: Tensor  # [G, L, 9, 2] from the object's center to the location, in pixels
    assigned: Tensor  # [G, L] bool: the object's size belongs to the level


def gather_objects(targets: Sequence[Target], device: torch.device) -> Objects:
    """Join the objects of a batch in one list."""
    images = [torch.full((len(t["boxes"]),), i, device=device) for i, t in enumerate(targets)]
    return Objects(
        torch.cat([_boxes_of(t).to(device, torch.float32) for t in targets]),
        torch.cat([t["labels"].to(device, torch.int64).reshape(-1) for t in targets]),
        torch.cat(images),
    )


def _boxes_of(target: Target) -> Tensor:  # [G, 4]
    """Boxes of the ground truth, those of padding moved away from all locations."""
    boxes = target["boxes"].reshape(-1, 4)
    if "valid" not in target:
        return boxes
    return torch.where(target["valid"][:, None], boxes, FAR_AWAY)


def make_levels(
    shapes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    size_ranges: Sequence[tuple[float, float]],
    num_images: int,
) -> list[Level]:
    """Number the locations of maps of `shapes` (height, width)."""
    levels, first = [], 0
    for (height, width), stride, (low, high) in zip(shapes, strides, size_ranges, strict=True):
        levels.append(Level(height, width, stride, first, low, high))
        first += num_images * height * width
    return levels


def find_neighbors(
    objects: Objects, levels: Sequence[Level], clamp_size: Tensor | None = None
) -> Neighbors:
    """Find the 3 x 3 neighborhood of every object on every level.

    Args:
        clamp_size: [G, 2] (width, height) of each object's image: centers that lie outside are
            moved onto its border.
    """
    device = objects.boxes.device
    stride, low, high = (
        constant([getattr(level, name) for level in levels], objects.boxes)  # [L]
        for name in ("stride", "min_size", "max_size")
    )
    width, height, first = (
        constant([getattr(level, name) for level in levels], objects.images)
        for name in ("width", "height", "first")
    )
    centers = box_centers(objects.boxes)  # [G, 2]
    if clamp_size is not None:
        centers = torch.min(centers.clamp(min=0), clamp_size - 1)
    cell = (centers[:, None] / stride[:, None]).long()  # [G, L, 2]
    step = torch.arange(-1, 2, device=device)
    grid = torch.stack(torch.meshgrid(step, step, indexing="xy"), dim=-1)  # [3, 3, 2] of (dx, dy)
    cells = cell[:, :, None] + grid.reshape(9, 2)  # [G, L, 9, 2]
    x, y = cells.unbind(-1)
    inside = (x >= 0) & (x < width[:, None]) & (y >= 0) & (y < height[:, None])
    index = (
        first[:, None]
        + objects.images[:, None, None] * (height * width)[:, None]
        + y * width[:, None]
        + x
    )
    points = cells * stride[:, None, None] + torch.floor(stride / 2)[:, None, None]  # [G, L, 9, 2]
    half_diagonal = (objects.boxes[:, 2:] - objects.boxes[:, :2]).norm(dim=1)[:, None] / 2  # [G, 1]
    return Neighbors(
        locations=torch.where(inside, index, 0),
        inside=inside,
        ltrb=boxes_to_ltrb(points, objects.boxes[:, None, None]),
        offset=points - box_centers(objects.boxes)[:, None, None],
        assigned=(half_diagonal >= low) & (half_diagonal <= high),
    )


def center_positives(objects: Objects, neighbors: Neighbors) -> Positives:
    """Return the center location of every object on the levels of its size."""
    index = neighbors.locations[:, :, 4]  # [G, L]
    valid = neighbors.assigned & neighbors.inside[:, :, 4]
    return Positives(
        index.flatten(), objects.labels[:, None].expand_as(index).flatten(), valid.flatten()
    )


def regression_targets(
    objects: Objects,
    neighbors: Neighbors,
    levels: Sequence[Level],
    num_locations: int,
    squared_radius: Tensor,
) -> Tensor:
    """Return box distances [M, 4], in units of the stride, around the centers.

    They stand at 3 x 3 locations per object; elsewhere they are NOT_REGRESSED. A location between
    several objects belongs to the one whose center is nearest in units of its
    radius.
    """
    stride = constant([level.stride for level in levels], objects.boxes)
    eligible = (
        neighbors.inside & (neighbors.ltrb.amin(dim=-1) > 0) & neighbors.assigned[:, :, None]
    )  # [G, L, 9]
    distance = (neighbors.offset**2).sum(dim=-1)  # [G, L, 9]
    distance[:, :, 4] = 0  # the cell of the center counts as the center itself
    distance = torch.where(
        eligible, distance / squared_radius[:, None, None], INFINITE_DISTANCE
    ).flatten()
    index = neighbors.locations.flatten()
    nearest = distance.new_full((num_locations,), INFINITE_DISTANCE).scatter_reduce(
        0, index, distance, "amin"
    )
    # of equally near objects the first one wins
    order = torch.arange(len(index), device=index.device)
    wins = eligible.flatten() & (distance == nearest[index])
    winner = order.new_full((num_locations,), len(index)).scatter_reduce(
        0, index, torch.where(wins, order, len(index)), "amin"
    )
    ltrb = (neighbors.ltrb / stride[:, None, None]).flatten(0, 2)  # [G * L * 9, 4]
    ltrb = torch.cat([ltrb, ltrb.new_full((1, 4), NOT_REGRESSED)])
    return ltrb[winner]


def object_radii(boxes: Tensor, min_iou: float, min_radius: float) -> Tensor:
    """Return squared radii [G] of peaks: moved by a radius, a box keeps `min_iou`."""
    delta = (1 - min_iou) / (1 + min_iou)
    return (2 * delta**2 * box_area(boxes)).clamp(min=min_radius**2)


def heatmap_targets(
    objects: Objects,
    levels: Sequence[Level],
    num_images: int,
    num_classes: int | None,
    squared_radius: Tensor,
) -> Tensor:
    """Draw the heat map [M, C]: a Gaussian peak per object on every level.

    Where peaks meet, the highest counts. Without classes, all objects share one channel: [M, 1].
    """
    labels = objects.labels if num_classes else torch.zeros_like(objects.labels)
    channels = num_classes or 1
    maps = [
        draw_heatmap(
            box_centers(objects.boxes),
            objects.images,
            labels,
            squared_radius,
            shape=(num_images, level.height, level.width, channels),
            stride=level.stride,
        )
        for level in levels
    ]
    return torch.cat([heat.reshape(-1, channels) for heat in maps])


def more_positives(
    objects: Objects,
    neighbors: Neighbors,
    loss: Tensor,
    *,
    threshold: float,
    topk: int,
) -> Positives:
    """Return centers, and neighbors whose predicted box already fits the object well.

    Args:
        loss: [G, L, 9] box loss of the prediction at each neighbor.
        threshold: a neighbor with a greater loss is no positive.
        topk: nor is one behind this many better ones.
    """
    inside_box = neighbors.ltrb.amin(dim=-1) >= 0  # [G, L, 9]
    loss = torch.where(neighbors.inside & inside_box, loss, INFINITE_DISTANCE)
    center = torch.arange(9, device=loss.device) == 4
    loss = torch.where(center & inside_box & neighbors.assigned[:, :, None], 0.0, loss)
    limit = loss.flatten(1).kthvalue(topk, dim=1).values if len(loss) else loss.new_zeros(0)
    valid = loss < limit.clamp(max=threshold)[:, None, None]
    labels = objects.labels[:, None, None].expand_as(valid)
    return Positives(neighbors.locations.flatten(), labels.flatten(), valid.flatten())
