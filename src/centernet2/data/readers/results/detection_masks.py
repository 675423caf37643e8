"""The masks of a results file, in any form that COCO's tools read."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from hotcoco import mask as rle

from centernet2.data.annotation_masks import NO_PIXEL, RUN_LENGTHS
from centernet2.data.readers.box_units import is_unit_of
from centernet2.data.readers.json_records import as_number
from centernet2.data.readers.results.detection_table import DetectionTable
from centernet2.data.readers.segmentations import (
    RUN_CHARACTERS,
    are_shares,
    flat_polygons,
    read_segmentation,
)
from centernet2.structures import FloatArray, IntArray, RunLengths


def read_detection_masks(table: DetectionTable, sizes: IntArray) -> list[RunLengths]:
    """Return each detection's mask as run lengths; sizes [D, 2] are of the images."""
    column = table.column("segmentation")
    expected = sizes.tolist()
    if all(map(_is_compressed, column, expected)):
        masks: list[RunLengths] = [
            {"size": size, "counts": value["counts"]}
            for value, size in zip(column, expected, strict=True)
        ]
    else:
        _refuse_shares(table, expected)
        masks = [_read_mask(table, row, size) for row, size in enumerate(expected)]
        missing = [row for row, value in enumerate(column) if not value]
        table.note(
            "missing mask", "keeps", missing,
            "a detection without a mask, where others have one, counts as a mask without a pixel",
        )  # fmt: skip
        converted = [
            row
            for row, value in enumerate(column)
            if value and not _is_compressed(value, expected[row])
        ]
        table.note("mask in another form", "repairs", converted, "a mask is read as run lengths")
    _require_undamaged(table, masks)
    return masks


def fill_boxes(table: DetectionTable, boxes: FloatArray, masks: Sequence[RunLengths]) -> None:
    """Give each detection without a box the one around its mask."""
    rows = np.flatnonzero(np.isnan(boxes[:, 0])).tolist()
    if rows:
        boxes[rows] = rle.toBbox([masks[row] for row in rows])
        table.note("missing box", "repairs", rows, "a detection without a bbox gets its mask's")


def _is_compressed(value: Any, size: list[int]) -> bool:
    return (
        isinstance(value, dict)
        and value.get("size") == size
        and isinstance(value.get("counts"), str)
        and RUN_CHARACTERS.fullmatch(value["counts"]) is not None
    )


def _read_mask(table: DetectionTable, row: int, size: list[int]) -> RunLengths:
    value = table.records[row].get("segmentation")
    height, width = size
    if not value:
        return _as_text(rle.encode(np.zeros((height, width), np.uint8, order="F")))
    try:
        polygons = _polygons(value, size)
        if polygons:
            return _as_text(rle.merge(rle.frPyObjects(polygons, height, width)))
        kind, content, *_ = read_segmentation(value, (height, width))
        if kind % NO_PIXEL != RUN_LENGTHS:
            raise ValueError("has no polygon of three points")
    except ValueError as error:
        given = value.get("size") if isinstance(value, Mapping) else size
        resized = not isinstance(given, list) or list(map(as_number, given)) != size
        advice = (
            "were these detections made on resized images?" if resized else "correct or remove it"
        )
        raise table.error(row, f"has a mask that {error}; {advice}") from error
    return {"size": size, "counts": content.decode("ascii")}


def _polygons(value: Any, size: list[int]) -> list[list[float]]:
    """Return polygons [[x, y, ...], ...] of three points or more; [] for other forms.

    They are drawn from float64, with every digit of the file.
    """
    parts = [value] if isinstance(value, list) and not isinstance(value[0], list) else value
    if not isinstance(parts, list) or not all(isinstance(part, list) for part in parts):
        return []
    if len(parts) == size[0] and all(len(part) == size[1] for part in parts):  # a bitmap
        return []
    parts, _ = flat_polygons(parts)
    if any(len(part) % 2 for part in parts):
        return []
    kept = [part for part in parts if len(part) >= 6]
    if not all(_is_finite(number) for part in kept for number in part):
        raise ValueError("has a polygon that is not made of finite numbers")
    return kept


def _refuse_shares(table: DetectionTable, sizes: Sequence[list[int]]) -> None:
    """Refuse polygons in shares of the image size; a few small ones may be in pixels."""
    polygons = {}
    for row, (value, size) in enumerate(zip(table.column("segmentation"), sizes, strict=True)):
        with suppress(ValueError):  # the mask is refused when it is read
            polygons[row] = _polygons(value, size) if value else []
    rows = [row for row, parts in polygons.items() if parts]
    in_shares = [row for row in rows if are_shares(polygons[row])]
    if is_unit_of(len(in_shares), len(rows)):
        raise table.error(
            in_shares[0],
            f"has a polygon in shares of the image size, as {len(in_shares)} of {len(rows)}; "
            "multiply x by the width and y by the height",
        )


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _as_text(mask: Any) -> RunLengths:
    return {"size": list(mask["size"]), "counts": mask["counts"].decode("ascii")}


def _require_undamaged(table: DetectionTable, masks: Sequence[Any]) -> None:
    try:
        rle.area(list(masks))
    except ValueError:
        for row, mask in enumerate(masks):
            try:
                rle.area(mask)
            except ValueError as error:
                raise table.error(row, f"has damaged run lengths ({error}); replace it") from error
