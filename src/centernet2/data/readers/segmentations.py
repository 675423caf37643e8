"""Read COCO's JSON segmentations in all the forms that programs write."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np
from hotcoco import mask as rle

from centernet2.data.annotation_masks import (
    NO_MASK,
    NO_PIXEL,
    POLYGONS,
    RUN_LENGTHS,
    cover_pixels,
    pack_masks,
    pack_polygons,
)
from centernet2.data.findings import Xywh
from centernet2.data.readers.json_records import as_number
from centernet2.structures import FloatArray

# what was repaired in a segmentation
Repair = Literal["", "flat", "pairs", "text", "bytes", "parts"]
RUN_CHARACTERS = re.compile("[0-o]+")  # of compressed run lengths
BYTES_AS_TEXT = re.compile("b(['\"])(.*)\\1")  # of a Python program that wrote str(counts)
LARGEST_SHARE = 1.05  # of the image's sides; coordinates in shares may exceed the image a little


class Segmentation(NamedTuple):
    """A segmentation in packed form."""

    kind: int
    content: bytes = b""
    repair: Repair = ""
    may_be_shares: bool = False  # of the image's sides, as all coordinates are about 0 to 1


def read_segmentation(segmentation: Any, size: tuple[int, int]) -> Segmentation:
    """Convert a `segmentation` of COCO's JSON format to its form and bytes.

    Polygons are [[x1, y1, x2, y2, ...], ...], also with each point as a list [x, y]; those with
    fewer than three points are left out. Run lengths are {"size": [height, width], "counts": [...]
    or "..."}. A bitmap is one list of 0 and 1 per row of the image.

    Args:
        segmentation: value of the key.
        size: height and width of the image.

    Raises:
        ValueError: the problem, worded as the end of a sentence about the annotation.
    """
    if not segmentation:
        return Segmentation(NO_MASK)
    if isinstance(segmentation, Mapping):
        return _read_run_lengths(segmentation, size)
    if not isinstance(segmentation, list):
        raise ValueError("has neither a list of polygons nor run lengths nor a bitmap as its mask")
    are_lists = [isinstance(part, list) for part in segmentation]
    if any(are_lists) and not all(are_lists):
        raise ValueError("has a list of polygons that holds something else as its mask")
    if all(are_lists) and _is_bitmap(segmentation, size):
        bitmap = np.array(segmentation, dtype=np.uint8)
        return _with_pixels(bytes(rle.encode(np.asfortranarray(bitmap))["counts"]), size)
    return _read_polygons(*flat_polygons(segmentation), size)


def flat_polygons(polygons: list[Any]) -> tuple[list[list[Any]], Repair]:
    """Return polygons as [[x1, y1, x2, y2, ...], ...], and what was repaired.

    Points may be lists [x, y], and a single polygon need not be in a list.
    """
    if not isinstance(polygons[0], list):
        return [polygons], "flat"
    if len(polygons) > 2 and all(map(_is_point, polygons)):
        return [list(chain.from_iterable(polygons))], "pairs"
    if any(part and all(map(_is_point, part)) for part in polygons):
        return [_flat(part) for part in polygons], "pairs"
    return polygons, ""


def _flat(part: list[Any]) -> list[Any]:
    return list(chain.from_iterable(part)) if all(map(_is_point, part)) else part


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and not isinstance(value[0], list)


def are_shares(polygons: Sequence[Sequence[float]]) -> bool:
    """Whether all coordinates of flat polygons may be shares of the image's sides."""
    return all(part[0] <= LARGEST_SHARE and max(part) <= LARGEST_SHARE for part in polygons)


def scaled_polygons(segmentation: list[Any], size: tuple[int, int]) -> list[list[float]]:
    """Turn polygons in shares of the image into pixels; `size` is its (height, width)."""
    polygons, _ = flat_polygons(segmentation)
    limits = (size[1], size[0])
    return [[as_number(x) * limits[i % 2] for i, x in enumerate(part)] for part in polygons]


def box_of_segmentation(segmentation: Any, size: tuple[int, int]) -> Xywh | None:
    """Return the box around a mask, or None if it has no pixel or cannot be read."""
    try:
        kind, content, *_ = read_segmentation(segmentation, size)
    except ValueError:
        return None
    if kind == POLYGONS:
        points = np.concatenate(pack_masks([kind], [content]).polygons(0))  # [V, 2]
        (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        return x1, y1, x2 - x1, y2 - y1
    if kind == RUN_LENGTHS:
        x, y, width, height = rle.toBbox({"size": list(size), "counts": content}).tolist()
        return x, y, width, height
    return None


def _read_polygons(
    parts: Sequence[Sequence[Any]], repair: Repair, size: tuple[int, int]
) -> Segmentation:
    if any(part and isinstance(part[0], list | dict) for part in parts):
        raise ValueError("has a polygon whose points are neither numbers nor lists [x, y]")
    kept = [part for part in parts if len(part) >= 6 and len(part) % 2 == 0]
    if len(kept) < len(parts):
        repair = "parts"
    if not kept:
        return Segmentation(NO_MASK, repair=repair)
    numbers = kept[0] if len(kept) == 1 else list(chain.from_iterable(kept))
    if not set(map(type, numbers)) <= {int, float}:
        numbers, repair = [as_number(value) for value in numbers], "text"
    try:
        points = np.array(numbers, dtype=np.float64)
    except OverflowError:  # an integer above 2^1024
        points = np.array([np.inf])
    if not np.isfinite(points).all():
        raise ValueError("has a polygon that is not made of finite numbers")
    content = pack_polygons(points, [len(part) // 2 for part in kept])
    may_be_shares = bool(points[0] <= LARGEST_SHARE and points.max() <= LARGEST_SHARE)
    if _is_thick(points[: len(kept[0])], size) or _covers_pixels(content, size):
        return Segmentation(POLYGONS, content, repair, may_be_shares)
    return Segmentation(POLYGONS | NO_PIXEL, content, repair, may_be_shares)


def _is_thick(points: FloatArray, size: tuple[int, int]) -> bool:
    """Quick test whether a polygon in its image is so thick that it holds a pixel."""
    numbers = points.tolist()
    xs, ys = numbers[0::2], numbers[1::2]
    x1, x2, y1, y2 = min(xs), max(xs), min(ys), max(ys)
    if x1 < 0 or y1 < 0 or x2 > size[1] or y2 > size[0]:
        return False
    corners = points.view(np.complex128)  # [V] x + iy; the next line is the shoelace formula
    twice = np.vdot(corners[:-1], corners[1:]) + corners[-1].conjugate() * corners[0]
    return bool(abs(twice.imag) > 2 * max(x2 - x1, y2 - y1, 1.0))


def _covers_pixels(content: bytes, size: tuple[int, int]) -> bool:
    return cover_pixels(pack_masks([POLYGONS], [content]).polygons(0), size)


def _with_pixels(counts: bytes, size: tuple[int, int], repair: Repair = "") -> Segmentation:
    area = int(rle.area({"size": list(size), "counts": counts}))
    return Segmentation(RUN_LENGTHS if area else RUN_LENGTHS | NO_PIXEL, counts, repair)


def _read_run_lengths(segmentation: Mapping[str, Any], size: tuple[int, int]) -> Segmentation:
    given, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(given, list) or [as_number(value) for value in given] != list(size):
        raise ValueError(f"has run lengths of size {given}, but its image is {list(size)}")
    pixels = size[0] * size[1]
    if isinstance(counts, list):
        numbers = [as_number(count) for count in counts]
        whole = all(number >= 0 and number.is_integer() for number in numbers)
        if not whole or sum(numbers) != pixels:
            raise ValueError(
                f"has run lengths that do not add up to the {pixels} pixels of its image"
            )
        integers = [int(number) for number in numbers]
        packed = rle.frPyObjects({"size": list(size), "counts": integers}, *size)
        texts: Repair = "text" if str in map(type, (*counts, *given)) else ""
        return _with_pixels(bytes(packed["counts"]), size, texts)
    if not isinstance(counts, str):
        raise ValueError("has run lengths whose 'counts' are neither a list nor a string")
    repair: Repair = "text" if str in map(type, given) else ""
    if quoted := BYTES_AS_TEXT.fullmatch(counts):
        counts, repair = quoted[2].replace("\\\\", "\\"), "bytes"
    if not RUN_CHARACTERS.fullmatch(counts):
        raise ValueError("has damaged run lengths")
    try:
        rle.area({"size": list(size), "counts": counts})
    except ValueError as error:
        raise ValueError(f"has damaged run lengths ({error})") from error
    if _sum_of_runs(counts) != pixels:
        raise ValueError(f"has run lengths that do not add up to the {pixels} pixels of its image")
    return _with_pixels(counts.encode("ascii"), size, repair)


def _sum_of_runs(counts: str) -> int:
    """Sum of compressed runs: 5 bits per character, differences from the third on."""
    runs: list[int] = []
    value = shift = 0
    for letter in counts.encode("ascii"):
        bits = letter - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:  # the last character of a number; 0x10 is its sign
            value -= (1 << shift) if bits & 0x10 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return sum(runs)


def _is_bitmap(rows: Sequence[Sequence[Any]], size: tuple[int, int]) -> bool:
    if len(rows) != size[0] or any(len(row) != size[1] for row in rows):
        return False
    return all(value in (0, 1) for row in rows for value in row)
