"""Records of COCO's format that can be read, and their values."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from centernet2.data.findings import Xywh
from centernet2.data.readers.coco import are_corners
from centernet2.data.readers.json_records import Record

# key of a list -> (name of its records, their required keys)
NEEDED_KEYS = {
    "images": ("image", ("id", "file_name", "width", "height")),
    "categories": ("category", ("id", "name")),
    "annotations": ("annotation", ("id", "image_id", "category_id")),
}


def incomplete_records(content: Record) -> Iterator[tuple[str, str]]:
    """Yield (record, problem) for each record that cannot be read."""
    for key, (kind, needed) in NEEDED_KEYS.items():
        for row, record in enumerate(_list(content, key)):
            lack = _lack(record, needed)
            if lack:
                yield f"{kind} number {row + 1}", lack


def without_incomplete(content: Record) -> Record:
    """Copy the content with only complete records in its three lists."""
    lists = {
        key: [record for record in _list(content, key) if not _lack(record, needed)]
        for key, (_, needed) in NEEDED_KEYS.items()
    }
    return {**content, **lists}


def repeated(records: Iterable[Record], key: Callable[[Record], Any]) -> Iterator[Record]:
    """Yield each record whose key equals that of an earlier one."""
    seen: set[str] = set()
    for record in records:
        text = repr(key(record))
        if text in seen:
            yield record
        seen.add(text)


def box_of(annotation: Record) -> Xywh | None:
    """Return the box of an annotation; None if it is not four finite numbers."""
    box = annotation.get("bbox")
    if not isinstance(box, list | tuple) or len(box) != 4:
        return None
    if not all(isinstance(x, int | float) and math.isfinite(x) for x in box):
        return None
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])


def recorded_size(image: Record) -> tuple[float, float] | None:
    """Return width and height of an image; None if its record lacks them."""
    width, height = image.get("width"), image.get("height")
    if not isinstance(width, int | float) or not isinstance(height, int | float):
        return None
    return (float(width), float(height)) if width > 0 and height > 0 else None


def clip_to_image(box: Xywh, image: Record) -> Xywh:
    """Clip a box to its image; the width or height may become negative."""
    width, height = recorded_size(image) or (math.inf, math.inf)
    x1, y1 = max(0.0, box[0]), max(0.0, box[1])
    x2, y2 = min(width, box[0] + box[2]), min(height, box[1] + box[3])
    return x1, y1, x2 - x1, y2 - y1


def is_finite_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def have_corners(
    annotations: list[Record], boxes: list[Xywh | None], image_of: dict[Any, Record]
) -> bool:
    """Whether the boxes are corners instead of position and size."""
    rows = [
        (box, size)
        for annotation, box in zip(annotations, boxes, strict=True)
        if box is not None
        and (size := recorded_size(image_of.get(annotation.get("image_id"), {}))) is not None
    ]
    if not rows:
        return False
    sizes = np.array([(height, width) for _, (width, height) in rows])
    return are_corners(np.array([box for box, _ in rows]), sizes)


def _list(content: Record, key: str) -> list[Any]:
    value = content.get(key)
    return value if isinstance(value, list) else []


def _lack(record: Any, needed: Iterable[str]) -> str:
    if not isinstance(record, dict):
        return f"{record!r} is not an object"
    wrong = [key for key in needed if not _is_usable(record, key)]
    return f"no usable {', '.join(wrong)}" if wrong else ""


def _is_usable(record: Record, key: str) -> bool:
    value = record.get(key)
    if key in ("id", "image_id", "category_id"):
        return isinstance(value, int)
    if key in ("width", "height"):
        return isinstance(value, int | float) and math.isfinite(value) and value > 0
    if key == "file_name":
        return (isinstance(value, str) and bool(value)) or bool(record.get("coco_url"))
    return value is not None
