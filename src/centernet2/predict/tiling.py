"""Detection in large images: in tiles and in the whole image, merged.

An object that is no larger than the overlap of two tiles is whole in one of them. Larger ones are
joined from their parts in several tiles, or come from the whole image.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral, Real
from typing import NamedTuple, TypeAlias

import numpy as np

from centernet2.ops.mask_arrays import stretch_grids
from centernet2.ops.row_pairs import Rows
from centernet2.predict.box_pairs import Floats
from centernet2.predict.merging import Merged, Parts, merge, slack
from centernet2.structures import DetectionArrays, Pixels

Detect: TypeAlias = Callable[[Sequence[Pixels]], list[DetectionArrays]]
MERGED_COLUMNS = ("boxes", "scores", "labels", "box_masks")
MIN_TILE = 32  # pixels
MAX_OVERLAP = 0.9  # of a tile's side; more makes ever more tiles
SEAM_MARGIN = 0.01  # of a tile's side, within which every box ends at its border


@dataclass(frozen=True)
class Tiling:
    """Size of tiles, and the fraction of it that neighboring tiles share at least."""

    tile: int = 1024  # pixels of the image; a tile is square
    overlap: float = 0.2

    def __post_init__(self) -> None:
        is_whole = isinstance(self.tile, Integral) and not isinstance(self.tile, bool)
        if not is_whole or self.tile < MIN_TILE:
            raise ValueError(
                f"tile is {self.tile!r}; give a whole number of pixels from {MIN_TILE}"
            )
        is_number = isinstance(self.overlap, Real) and not isinstance(self.overlap, bool)
        if not is_number or not 0 <= self.overlap <= MAX_OVERLAP:
            raise ValueError(
                f"overlap is {self.overlap!r}; give a fraction of the tile in 0..{MAX_OVERLAP}, "
                "such as 0.2"
            )


class Window(NamedTuple):
    """A tile in pixels of the image."""

    left: int
    top: int
    right: int
    bottom: int


def tile_windows(size: tuple[int, int], tiling: Tiling) -> list[Window]:
    """Return the tiles that cover an image of size (height, width), evenly spaced.

    An image that is no larger than a tile gives one window, the image.
    """
    rows, columns = (_origins(side, tiling) for side in size)
    height, width = (min(side, tiling.tile) for side in size)
    return [Window(left, top, left + width, top + height) for top in rows for left in columns]


def _origins(side: int, tiling: Tiling) -> list[int]:
    """Return where tiles begin along a side of the image."""
    rest = max(0, side - tiling.tile)
    steps = math.ceil(rest / max(1, math.floor(tiling.tile * (1 - tiling.overlap))))
    return [round(rest * step / max(1, steps)) for step in range(steps + 1)]


def detect_tiled(
    detect: Detect, image: Pixels, tiling: Tiling, *, batch_size: int = 1
) -> DetectionArrays:
    """Detect objects in the tiles of an image and in the whole image, and merge them.

    Args:
        detect: images -> detections in their pixels, masks in the grid of their box.
        image: the whole image.
        tiling: size and overlap of the tiles.
        batch_size: tiles per call of `detect`; the whole image is alone.

    Returns:
        Detections in pixels of the image, best first, masks in the grid of their box.
    """
    size = image.shape[:2]
    (whole,) = detect([image])
    windows = tile_windows(size, tiling)
    if len(windows) == 1:
        return {name: whole[name] for name in MERGED_COLUMNS if name in whole}
    tiles: list[DetectionArrays] = []
    for start in range(0, len(windows), batch_size):
        batch = windows[start : start + batch_size]
        tiles += map(_move, detect([_crop(image, window) for window in batch]), batch)
    return merge_tiles([*tiles, whole], windows, size, tiling)


def _crop(image: Pixels, window: Window) -> Pixels:
    return image[window.top : window.bottom, window.left : window.right]


def _move(detections: DetectionArrays, window: Window) -> DetectionArrays:
    """Move boxes from pixels of a tile to pixels of the image."""
    offset = np.array([window.left, window.top] * 2, np.float32)
    return {**detections, "boxes": detections["boxes"] + offset}


def merge_tiles(
    found: Sequence[DetectionArrays],
    windows: Sequence[Window],
    size: tuple[int, int],
    tiling: Tiling,
) -> DetectionArrays:
    """Merge the detections of tiles and the whole image: each object once, none cut.

    Args:
        found: of each tile, then of the whole image, all in pixels of the image.
        windows: the tiles.
        size: (height, width) of the image.
        tiling: what the tiles were made with.
    """
    margin = SEAM_MARGIN * tiling.tile
    parts = _parts(found, windows, size, margin)
    merged = merge(parts, margin=margin)
    columns = merged.boxes, merged.scores, merged.labels
    detections: DetectionArrays = dict(zip(MERGED_COLUMNS, columns, strict=False))
    if "box_masks" in found[0]:
        masks = np.concatenate([each["box_masks"] for each in found])
        detections["box_masks"] = _merged_masks(masks, parts, merged)
    return detections


def _parts(
    found: Sequence[DetectionArrays],
    windows: Sequence[Window],
    size: tuple[int, int],
    margin: float,
) -> Parts:
    """Join all detections, and note what each pass can see of their objects."""
    boxes, scores, labels = (
        np.concatenate([each[key] for each in found]) for key in ("boxes", "scores", "labels")
    )
    whole = Window(0, 0, size[1], size[0])
    counts = [len(each["boxes"]) for each in found]
    limits = np.repeat(np.array([*windows, whole]), counts, axis=0)  # [n, 4]
    at_border = np.abs(boxes - limits) <= slack(boxes, margin)
    cut = at_border & (limits != np.array(whole))
    shared = np.array([_overlap(windows, axis) for axis in (0, 1)])  # of tiles, in x and in y
    is_whole = np.arange(len(boxes)) >= len(boxes) - counts[-1]
    fits = (boxes[:, 2:] - boxes[:, :2] <= shared - 2 * margin).all(axis=1)
    return Parts(boxes, scores, labels, cut, is_whole & fits)


def _overlap(windows: Sequence[Window], axis: int) -> float:
    """Return how many pixels neighboring tiles share along an axis, at least."""
    origins = sorted({window[axis] for window in windows})
    if len(origins) == 1:
        return math.inf
    side = windows[0][axis + 2] - windows[0][axis]
    return side - max(b - a for a, b in pairwise(origins))


def _merged_masks(masks: Floats, parts: Parts, merged: Merged) -> Floats:  # [D, M, M]
    """Return the mask of each merged box; joined parts have the grid of their union."""
    count = len(parts.boxes)
    single = merged.rows < count
    result = np.zeros((len(merged.rows), *masks.shape[1:]), masks.dtype)
    result[single] = masks[merged.rows[single]]
    for row in np.flatnonzero(~single).tolist():
        members = np.flatnonzero(merged.groups == merged.rows[row] - count)
        result[row] = _union_mask(masks, parts.boxes, members, merged.boxes[row])
    return result


def _union_mask(masks: Floats, boxes: Floats, members: Rows, union: Floats) -> Floats:
    """Return the highest probability [M, M] of some boxes' masks in the union's grid."""
    cells = masks.shape[1]
    scale = cells / (union[2:] - union[:2])
    in_cells = (boxes[members] - np.tile(union[:2], 2)) * np.tile(scale, 2)
    highest: Floats = stretch_grids(masks[members], in_cells, (0, cells), (0, cells)).max(axis=0)
    return highest
