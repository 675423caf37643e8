"""Target assignment of the first stage: which locations predict which objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from centernet2.models.centernet.targets import (
    Neighbors,
    Objects,
    Positives,
    center_positives,
    concatenate_objects,
    find_neighbors,
    heatmap_targets,
    make_levels,
    more_positives,
    regression_targets,
    squared_radii,
)
from centernet2.ops.boxes import Size
from centernet2.ops.losses import ltrb_iou_loss
from centernet2.ops.tensors import constant
from centernet2.structures import Target

NO_LIMIT = 10_000_000  # half diagonal in pixels, larger than that of any object


@dataclass(frozen=True)
class AssignerOptions:
    """Targets of the first stage."""

    # range of half diagonals of objects, in pixels, that each level is responsible for
    sizes_of_interest: tuple[tuple[float, ...], ...] = (
        (0, 80), (64, 160), (128, 320), (256, 640), (512, NO_LIMIT),
    )  # fmt: skip
    min_iou: float = 0.8  # determines the radius of peaks, see `squared_radii`
    min_radius: float = 4  # of peaks, in pixels
    more_positives: bool = False  # neighbors of a center with a good box are positives too
    more_positives_max_loss: float = 0.2
    more_positives_topk: int = 9
    clamp_boxes: bool = True  # boxes are clipped to the image; else centers outside are moved in


class StageTargets(NamedTuple):
    """Targets of the first stage at the M locations of a batch."""

    positives: Positives
    ltrb: Tensor  # [M, 4] in units of the stride; negative where no box is regressed
    heatmap: Tensor  # [M, C] in 0..1, [M, 1] if class-agnostic
    unknown: Tensor | None  # [M, C] bool: classes that were not labelled there; None: all were


class Assigner(nn.Module):
    """Assignment of objects to locations (arXiv 2103.07461, section 5; 1904.07850).

    Args:
        strides: of the levels, finest first.
        num_classes: channels of the heat map; None: one for all classes.
        options: choice of levels and positive locations.
        box_loss: loss by which options.more_positives judges predicted boxes.
    """

    def __init__(
        self,
        strides: Sequence[int],
        num_classes: int | None = None,
        options: AssignerOptions = AssignerOptions(),
        box_loss: str = "giou",
    ) -> None:
        super().__init__()
        if len(strides) != len(options.sizes_of_interest):
            raise ValueError(
                f"there are {len(strides)} strides and {len(options.sizes_of_interest)} "
                "sizes_of_interest; give one of each per level"
            )
        if options.more_positives and options.more_positives_topk > 9 * len(strides):
            raise ValueError(
                f"more_positives_topk is {options.more_positives_topk}, but an object has "
                f"{9 * len(strides)} locations on {len(strides)} levels; give at most that"
            )
        self.strides, self.num_classes = list(strides), num_classes
        self.options, self.box_loss = options, box_loss
        self.sizes_of_interest = [(float(a), float(b)) for a, b in options.sizes_of_interest]

    @torch.no_grad()
    def forward(
        self, ltrb: Sequence[Tensor], sizes: Sequence[Size], targets: Sequence[Target]
    ) -> StageTargets:
        """Return the targets of predictions ltrb [N, 4, h, w] per level.

        Args:
            ltrb: predicted distances; without options.more_positives only their shapes are used.
            sizes: (height, width) of each image before padding.
            targets: the ground truth.
        """
        shapes = [(x.shape[2], x.shape[3]) for x in ltrb]
        levels = make_levels(shapes, self.strides, self.sizes_of_interest, len(sizes))
        objects = concatenate_objects(targets, ltrb[0].device)
        neighbors = find_neighbors(objects, levels)
        squared_radius = squared_radii(objects.boxes, self.options.min_iou, self.options.min_radius)
        if self.options.more_positives:
            positives = self._more_positives(objects, neighbors, flatten_levels(ltrb))
        elif self.options.clamp_boxes:
            positives = center_positives(objects, neighbors)
        else:
            image_sizes = _width_height(sizes, squared_radius)[objects.images]  # [G, 2]
            positives = center_positives(objects, find_neighbors(objects, levels, image_sizes))
        num_locations = sum(len(sizes) * h * w for h, w in shapes)
        return StageTargets(
            positives,
            regression_targets(objects, neighbors, levels, num_locations, squared_radius),
            heatmap_targets(objects, levels, len(sizes), self.num_classes, squared_radius),
            self._unknown_classes(targets, shapes),
        )

    def _unknown_classes(
        self, targets: Sequence[Target], shapes: Sequence[tuple[int, int]]
    ) -> Tensor | None:
        """Return the classes [M, C] that were not labelled in the image of each location."""
        masks = [target["unknown"] for target in targets if "unknown" in target]
        if self.num_classes is None or not masks:
            return None
        default = torch.zeros_like(masks[0])
        own = torch.stack([target.get("unknown", default) for target in targets])  # [N, C]
        return torch.cat([own.repeat_interleave(h * w, dim=0) for h, w in shapes])

    def _more_positives(self, objects: Objects, neighbors: Neighbors, ltrb: Tensor) -> Positives:
        strides = constant(self.strides, neighbors.ltrb)[:, None, None]  # [L, 1, 1]
        wanted = (neighbors.ltrb / strides).clamp(min=0).flatten(0, 2)
        loss = ltrb_iou_loss(ltrb[neighbors.locations.flatten()], wanted, self.box_loss)
        return more_positives(
            objects,
            neighbors,
            loss.view(neighbors.locations.shape),
            threshold=self.options.more_positives_max_loss,
            topk=self.options.more_positives_topk,
        )


def sizes_for(strides: Sequence[int]) -> tuple[tuple[float, float], ...]:
    """Return sizes of interest for any strides: 4 to 10 strides, open at both ends."""
    lows = [0.0, *(4.0 * stride for stride in strides[1:])]
    highs = [*(10.0 * stride for stride in strides[:-1]), NO_LIMIT]
    return tuple(zip(lows, highs, strict=True))


def flatten_levels(levels: Sequence[Tensor]) -> Tensor:
    """Concatenate maps [N, K, h, w] to [M, K], by level, then image, then row."""
    return torch.cat([x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]) for x in levels])


def _width_height(sizes: Sequence[Size], like: Tensor) -> Tensor:  # [N, 2]
    if isinstance(sizes[0], Tensor):
        return torch.stack([cast(Tensor, size).flip(0) for size in sizes]).to(like.dtype)
    return constant([(w, h) for h, w in cast(Sequence[tuple[int, int]], sizes)], like)
