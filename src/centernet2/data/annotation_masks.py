"""Segmentations of COCO's JSON format in packed form, and masks drawn from them."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from hotcoco import mask as rle
from torch import Tensor

from centernet2.data.sharing import SharedArrays
from centernet2.structures import BoolArray, FloatArray, IntArray

NO_MASK, POLYGONS, RUN_LENGTHS = 0, 1, 2  # form of the mask of an object
RESTORED_DECIMALS = 3  # of the coordinates of polygons in float32; more of them need float64
NO_PIXEL = 4  # added to the form of a mask that covers no pixel


@dataclass(frozen=True, eq=False, kw_only=True)
class PackedMasks(SharedArrays):
    """Segmentations of many objects as bytes in one array: no Python object per mask.

    Object i has the bytes starts[i] to ends[i]. They hold either the number of its polygons, the
    number of points of each (int32) and all points (x and y), or the compressed run lengths of its
    bitmap. The points are float32 where that restores every digit, else float64.
    """

    kinds: npt.NDArray[np.uint8]  # [B] NO_MASK, POLYGONS or RUN_LENGTHS, perhaps plus NO_PIXEL
    starts: IntArray  # [B]
    ends: IntArray  # [B]
    content: npt.NDArray[np.uint8]

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> "PackedMasks":
        """Select the masks of some objects, in this order; the bytes are shared."""
        return replace(self, kinds=self.kinds[rows], starts=self.starts[rows], ends=self.ends[rows])

    def have_pixels(self, rows: Any = slice(None)) -> BoolArray:
        """Whether objects have a mask that covers a pixel."""
        kinds = self.kinds[rows]
        have: BoolArray = (kinds != NO_MASK) & (kinds < NO_PIXEL)
        return have

    def form(self, i: int) -> int:
        """Return NO_MASK, POLYGONS or RUN_LENGTHS for object i."""
        return int(self.kinds[i]) % NO_PIXEL

    def polygons(self, i: int) -> list[Tensor]:
        """Return the polygons [V, 2] of object i, float64 x and y."""
        lengths, points = self._points(i)
        return list(torch.split(torch.from_numpy(points).view(-1, 2), lengths))

    def _points(self, i: int) -> tuple[list[int], FloatArray]:
        """Number of points of each polygon of object i, and x and y of all points in turn."""
        content = self.content[self.starts[i] : self.ends[i]].tobytes()
        (count,) = struct.unpack_from("=i", content)
        lengths = list(struct.unpack_from(f"={count}i", content, 4))
        start = 4 + 4 * count
        is_exact = len(content) - start == 16 * sum(lengths)  # bytes of two float64 per point
        if is_exact:
            return lengths, np.frombuffer(content, np.float64, offset=start).copy()
        points = np.frombuffer(content, np.float32, offset=start).astype(np.float64)
        return lengths, points.round(RESTORED_DECIMALS)

    def bitmap(self, i: int, size: tuple[int, int]) -> Tensor:  # bool [H, W]
        """Draw the mask of object i in an image of `size` (height, width)."""
        if self.form(i) == POLYGONS:
            return draw_polygons(self.polygons(i), size)
        if self.form(i) == NO_MASK:
            return torch.zeros(size, dtype=torch.bool)
        return _decode(self.segmentation(i, size))

    def segmentation(self, i: int, size: tuple[int, int]) -> Any:
        """Return the mask of object i in the form of COCO's JSON; None if it has no mask."""
        if self.form(i) == POLYGONS:
            lengths, points = self._points(i)
            flat, ends = points.tolist(), [2 * end for end in accumulate(lengths)]
            return [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        if self.form(i) == NO_MASK:
            return None
        return {
            "size": list(size),
            "counts": self.content[self.starts[i] : self.ends[i]].tobytes().decode("ascii"),
        }


def pack_masks(kinds: Sequence[int], contents: Sequence[bytes]) -> PackedMasks:
    """Pack masks, given by the form and the bytes of each."""
    ends = np.cumsum([len(content) for content in contents], dtype=np.int64)
    return PackedMasks(
        kinds=np.array(kinds, dtype=np.uint8),
        starts=np.concatenate([np.zeros(1, dtype=np.int64), ends])[:-1],
        ends=ends,
        content=np.frombuffer(b"".join(contents), dtype=np.uint8),
    )


def pack_polygons(points: FloatArray, lengths: Sequence[int]) -> bytes:
    """Pack the polygons of an object, given by all their points [x, y, x, y, ...]."""
    header = np.array([len(lengths), *lengths], dtype=np.int32).tobytes()
    with np.errstate(over="ignore"):
        halved = points.astype(np.float32)
    restored = np.array_equal(halved.astype(np.float64).round(RESTORED_DECIMALS), points)
    return header + (halved if restored else points).tobytes()


def join_masks(masks: Sequence[PackedMasks]) -> PackedMasks:
    """Concatenate the masks of several data sets."""
    shifts = np.cumsum([0, *(len(each.content) for each in masks)])
    return PackedMasks(
        kinds=np.concatenate([each.kinds for each in masks]),
        starts=np.concatenate(
            [each.starts + shift for each, shift in zip(masks, shifts, strict=False)]
        ),
        ends=np.concatenate(
            [each.ends + shift for each, shift in zip(masks, shifts, strict=False)]
        ),
        content=np.concatenate([each.content for each in masks]),
    )


def draw_polygons(polygons: Sequence[Tensor], size: tuple[int, int]) -> Tensor:  # bool [H, W]
    """Draw the union of polygons [V, 2] in an image of `size` (height, width).

    Which pixels on an edge belong to the mask follows COCO's rule.
    """
    return _decode(_run_lengths(polygons, size))


def cover_pixels(polygons: Sequence[Tensor], size: tuple[int, int]) -> bool:
    """Whether polygons cover a pixel of an image of `size`, which may be a large one."""
    return bool(rle.area(_run_lengths(polygons, size)))


def _run_lengths(polygons: Sequence[Tensor], size: tuple[int, int]) -> Any:
    return rle.merge(rle.frPyObjects([each.flatten().tolist() for each in polygons], *size))


def draw_objects(objects: Sequence[Sequence[Tensor]], size: tuple[int, int]) -> Tensor:
    """Draw one mask for the polygons of each object: bool [G, H, W]."""
    masks = [draw_polygons(polygons, size) for polygons in objects]
    return torch.stack(masks) if masks else torch.zeros(0, *size, dtype=torch.bool)


def _decode(runs: Any) -> Tensor:  # bool [H, W]
    return torch.from_numpy(np.ascontiguousarray(rle.decode(runs))).bool()
