"""Targets of the first stage: heat map, box distances, positive locations.

Locations of a batch are numbered by level, then image, then row. The objects of all images are in
one list, each with the index of its image. The shapes of all tensors depend only on the number of
objects and the sizes of the maps; masks mark the entries that apply.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from centernet2.kernels import draw_heatmap
from centernet2.ops.boxes import box_area, box_centers, boxes_to_ltrb
from centernet2.ops.tensors import constant
from centernet2.structures import Target, certain_objects

NOT_REGRESSED = -1e8
FAR_AWAY = -(2.0**20)  # coordinates of padded objects, far from all locations
INFINITE_DISTANCE = 1e8


class Objects(NamedTuple):
    """The ground truth of a batch in one list."""

    boxes: Tensor  # [G, 4] xyxy
    labels: Tensor  # [G]
    images: Tensor  # [G] index of the image in the batch
    certain: Tensor  # [G] bool: others have a peak in the heat map, but no positive location


class Level(NamedTuple):
    """One level of the feature pyramid, and its locations."""

    height: int
    width: int
    stride: int
    first: int  # number of the level's first location in the batch
    min_size: float  # the level is for objects with half diagonals from min_size to max_size
    max_size: float


class Positives(NamedTuple):
    """Positive locations."""

    locations: Tensor  # [P] numbers of locations
    labels: Tensor  # [P]
    valid: Tensor  # [P] bool: the others are padding


class Neighbors(NamedTuple):
    """The 3 x 3 locations around each object's center, on every level."""

    locations: Tensor  # [G, L, 9] number of the location, 0 outside the map
    inside: Tensor  # [G, L, 9] bool: on the map, and of an object that is certain
    ltrb: Tensor  # [G, L, 9, 4] distances to the object's box, in pixels
    offset: Tensor  # [G, L, 9, 2] from the object's center to the location, in pixels
    assigned: Tensor  # [G, L] bool: the level is responsible for the object's size


def concatenate_objects(targets: Sequence[Target], device: torch.device) -> Objects:
    """Concatenate the objects of all images in a batch."""
    images = [torch.full((len(t["boxes"]),), i, device=device) for i, t in enumerate(targets)]
    return Objects(
        torch.cat([_boxes_of(t).to(device, torch.float32) for t in targets]),
        torch.cat([t["labels"].to(device, torch.int64).reshape(-1) for t in targets]),
        torch.cat(images),
        torch.cat([certain_objects(t) for t in targets]).to(device),
    )


def _boxes_of(target: Target) -> Tensor:  # [G, 4]
    """Return the ground-truth boxes; padding is moved away from all locations."""
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
    """Number the locations of levels of `shapes` (height, width)."""
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
        clamp_size: [G, 2] (width, height) of each object's image: centers outside it are moved to
            its border.
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
    inside &= objects.certain[:, None, None]
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
    """Return the center location of every object on the levels for its size."""
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
    """Return box distances [M, 4] in units of the stride, around object centers.

    Each object has 3 x 3 locations; all others are NOT_REGRESSED. A location that several objects
    share belongs to the object whose center is nearest in units of its radius.
    """
    stride = constant([level.stride for level in levels], objects.boxes)
    in_box = neighbors.ltrb.amin(dim=-1) > 0
    eligible = neighbors.inside & in_box & neighbors.assigned[:, :, None]  # [G, L, 9]
    distance = (neighbors.offset**2).sum(dim=-1)  # [G, L, 9]
    distance[:, :, 4] = 0  # the location of the center counts as the center itself
    distance = torch.where(
        eligible, distance / squared_radius[:, None, None], INFINITE_DISTANCE
    ).flatten()
    index = neighbors.locations.flatten()
    nearest = distance.new_full((num_locations,), INFINITE_DISTANCE).scatter_reduce(
        0, index, distance, "amin"
    )
    # among equally near objects the first one wins
    order = torch.arange(len(index), device=index.device)
    wins = eligible.flatten() & (distance == nearest[index])
    winner = order.new_full((num_locations,), len(index)).scatter_reduce(
        0, index, torch.where(wins, order, len(index)), "amin"
    )
    ltrb = (neighbors.ltrb / stride[:, None, None]).flatten(0, 2)  # [G * L * 9, 4]
    ltrb = torch.cat([ltrb, ltrb.new_full((1, 4), NOT_REGRESSED)])
    return ltrb[winner]


def squared_radii(boxes: Tensor, min_iou: float, min_radius: float) -> Tensor:
    """Return squared radii [G] of peaks, twice the square of a distance.

    A square box of the same area that moves this distance along an axis keeps the IoU `min_iou`.
    """
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

    Where peaks overlap, the maximum is taken. Without classes, all objects share a channel: [M, 1].
    An uncertain object has a peak, too: where it may be, the loss of the background is reduced.
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
    objects: Objects, neighbors: Neighbors, loss: Tensor, *, threshold: float, topk: int
) -> Positives:
    """Return centers, and neighbors whose predicted box already fits the object well.

    Args:
        loss: [G, L, 9] box loss of the prediction at each neighbor.
        threshold: maximum loss of a positive neighbor.
        topk: there are fewer positives than this per object.
    """
    inside_box = neighbors.ltrb.amin(dim=-1) >= 0  # [G, L, 9]
    loss = torch.where(neighbors.inside & inside_box, loss, INFINITE_DISTANCE)
    center = torch.arange(9, device=loss.device) == 4
    loss = torch.where(center & inside_box & neighbors.assigned[:, :, None], 0.0, loss)
    limit = loss.flatten(1).kthvalue(topk, dim=1).values if len(loss) else loss.new_zeros(0)
    valid = loss < limit.clamp(max=threshold)[:, None, None]
    labels = objects.labels[:, None, None].expand_as(valid)
    return Positives(neighbors.locations.flatten(), labels.flatten(), valid.flatten())
