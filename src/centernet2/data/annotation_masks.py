"""Segmentations of COCO's JSON format in packed form, and masks drawn from them."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from hotcoco import mask as rle
from torch import Tensor

from centernet2.data.sharing import SharedArrays

NO_MASK, POLYGONS, RUN_LENGTHS = 0, 1, 2  # form of the mask of an object
RESTORED_DECIMALS = 3  # of the coordinates of polygons in float32; more of them need float64


@dataclass(frozen=True, eq=False, kw_only=True)
class PackedMasks(SharedArrays):
    """Segmentations of many objects as bytes in one array: no Python object per mask.

    Object i has the bytes starts[i] to ends[i]. They hold either the number of its polygons, the
    number of points of each (int32) and all points (x and y, float32 if that restores them, else
    float64), or the compressed run lengths of its bitmap.
    """

    kinds: npt.NDArray[np.uint8]  # [B] NO_MASK, POLYGONS or RUN_LENGTHS
    starts: npt.NDArray[np.int64]  # [B]
    ends: npt.NDArray[np.int64]  # [B]
    content: npt.NDArray[np.uint8]

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> "PackedMasks":
        """Select the masks of some objects, in this order; the bytes are shared."""
        return replace(self, kinds=self.kinds[rows], starts=self.starts[rows], ends=self.ends[rows])

    def polygons(self, i: int) -> list[Tensor]:
        """Return the polygons [V, 2] of object i, float64 x and y."""
        lengths, points = self._points(i)
        return list(torch.split(torch.from_numpy(points).view(-1, 2), lengths))

    def _points(self, i: int) -> tuple[list[int], npt.NDArray[np.float64]]:
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
        if self.kinds[i] == POLYGONS:
            return draw_polygons(self.polygons(i), size)
        if self.kinds[i] == NO_MASK:
            return torch.zeros(size, dtype=torch.bool)
        return _decode(self.segmentation(i, size))

    def segmentation(self, i: int, size: tuple[int, int]) -> Any:
        """Return the mask of object i in the form of COCO's JSON; None if it has no mask."""
        if self.kinds[i] == POLYGONS:
            lengths, points = self._points(i)
            flat, ends = points.tolist(), [2 * end for end in accumulate(lengths)]
            return [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        if self.kinds[i] == NO_MASK:
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


def read_segmentation(segmentation: Any, size: tuple[int, int]) -> tuple[int, bytes]:
    """Convert a `segmentation` of COCO's JSON format to its form and bytes.

    Polygons are [[x1, y1, x2, y2, ...], ...]; those with fewer than three points are left out. Run
    lengths are {"size": [height, width], "counts": [...] or "..."}. A bitmap is one list of 0 and 1
    per row of the image.

    Args:
        segmentation: value of the key.
        size: height and width of the image.

    Raises:
        ValueError: the problem, worded as the end of a sentence about the annotation.
    """
    if not segmentation:
        return NO_MASK, b""
    if isinstance(segmentation, Mapping):
        return RUN_LENGTHS, _read_run_lengths(segmentation, size)
    if not isinstance(segmentation, list) or not all(
        isinstance(part, list) for part in segmentation
    ):
        raise ValueError("is neither a list of polygons nor run lengths nor a bitmap")
    if _is_bitmap(segmentation, size):
        return RUN_LENGTHS, bytes(rle.encode(np.array(segmentation, dtype=np.uint8))["counts"])
    return _read_polygons(segmentation)


def _read_polygons(parts: Sequence[Sequence[Any]]) -> tuple[int, bytes]:
    kept = [part for part in parts if len(part) >= 6 and len(part) % 2 == 0]
    try:
        points = np.array([number for part in kept for number in part], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError("has a polygon that is not made of numbers") from error
    if not np.isfinite(points).all():
        raise ValueError("has a polygon that is not made of finite numbers")
    if not kept:
        return NO_MASK, b""
    header = np.array([len(kept), *(len(part) // 2 for part in kept)], dtype=np.int32)
    with np.errstate(over="ignore"):
        halved = points.astype(np.float32)
    restored = np.array_equal(halved.astype(np.float64).round(RESTORED_DECIMALS), points)
    return POLYGONS, header.tobytes() + (halved if restored else points).tobytes()


def _read_run_lengths(segmentation: Mapping[str, Any], size: tuple[int, int]) -> bytes:
    counts = segmentation.get("counts")
    if segmentation.get("size") != list(size):
        raise ValueError(
            f"has run lengths of size {segmentation.get('size')}, but its image is {list(size)}"
        )
    if isinstance(counts, list):
        if (
            not all(isinstance(count, int) and count >= 0 for count in counts)
            or sum(counts) != size[0] * size[1]
        ):
            raise ValueError(
                f"has run lengths that do not add up to the {size[0] * size[1]} pixels of its image"
            )
        return bytes(rle.frPyObjects({"size": list(size), "counts": counts}, *size)["counts"])
    if not isinstance(counts, str):
        raise ValueError("has run lengths whose 'counts' are neither a list nor a string")
    try:
        rle.area({"size": list(size), "counts": counts})
    except ValueError as error:
        raise ValueError(f"has damaged run lengths ({error})") from error
    return counts.encode("ascii")


def _is_bitmap(rows: Sequence[Sequence[Any]], size: tuple[int, int]) -> bool:
    if len(rows) != size[0] or any(len(row) != size[1] for row in rows):
        return False
    return all(value in (0, 1) for row in rows for value in row)


def draw_polygons(polygons: Sequence[Tensor], size: tuple[int, int]) -> Tensor:  # bool [H, W]
    """Draw the union of polygons [V, 2] in an image of `size` (height, width).

    Which pixels on an edge belong to the mask follows COCO's rule.
    """
    parts = rle.frPyObjects([polygon.flatten().tolist() for polygon in polygons], *size)
    return _decode(rle.merge(parts))


def draw_objects(objects: Sequence[Sequence[Tensor]], size: tuple[int, int]) -> Tensor:
    """Draw one mask for the polygons of each object: bool [G, H, W]."""
    masks = [draw_polygons(polygons, size) for polygons in objects]
    return torch.stack(masks) if masks else torch.zeros(0, *size, dtype=torch.bool)


def _decode(runs: Any) -> Tensor:  # bool [H, W]
    return torch.from_numpy(np.ascontiguousarray(rle.decode(runs))).bool()
