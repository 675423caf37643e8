"""Read what detection needs of an XML file in Pascal VOC's format."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from centernet2.data.findings import Problem

CORNER_TAGS = ("xmin", "ymin", "xmax", "ymax")
EXCHANGED = Problem("boxes whose corners are exchanged", "repairs", "write xmin below xmax")
SEVERAL = Problem("objects with several boxes", "repairs", "each box is read as an object")
FROM_POLYGON = Problem(
    "objects with a polygon or a rotated box alone", "repairs", "its enclosing box is read"
)
Box = tuple[float, float, float, float]  # x1, y1, x2, y2


class VocObject(NamedTuple):
    """An object of an XML file."""

    number: int  # in the file, from 1
    name: str
    is_difficult: bool
    boxes: tuple[Box, ...]  # usually one
    problems: tuple[Problem, ...]  # that were repaired
    error: str  # why the boxes cannot be read; empty if they can


class VocFile(NamedTuple):
    """The annotations of one image. They take a fifth of the memory of the XML elements."""

    file_name: str  # as stated, without folders
    height: float | None  # as stated; None: missing or no number
    width: float | None
    counts_from_one: bool  # whether the first pixel is 1
    objects: tuple[VocObject, ...]


def read_annotation(root: ET.Element, path: Path) -> VocFile:
    """Read an <annotation>; objects that LabelMe marks as deleted are left out.

    Raises:
        ValueError: an object has no name.
    """
    source = root.findtext("source/database", "") + " " + root.findtext("folder", "")
    return VocFile(
        root.findtext("filename", "").strip().replace("\\", "/").rsplit("/", 1)[-1],
        _number(root.findtext("size/height", "")),
        _number(root.findtext("size/width", "")),
        re.search(r"\bVOC(20\d\d)?\b", source) is not None,
        tuple(
            _object(item, number, path)
            for number, item in enumerate(root.iter("object"), start=1)
            if not _is_true(item.findtext("deleted", ""))
        ),
    )


def _object(item: ET.Element, number: int, path: Path) -> VocObject:
    name = item.findtext("name", "").strip()
    if not name:
        raise ValueError(f"{path}: object {number} has no 'name' of its class; add it")
    problems = []
    try:
        boxes = [_corners(box) for box in item.findall("bndbox")]
        if len(boxes) > 1:
            problems.append(SEVERAL)
        if not boxes:
            boxes = [_enclosing(item)]
            problems.append(FROM_POLYGON)
        error = ""
    except ValueError as wrong:
        boxes, error = [], str(wrong)
    problems += [EXCHANGED for x1, y1, x2, y2 in boxes if x1 > x2 or y1 > y2]
    ordered = [(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)) for x1, y1, x2, y2 in boxes]
    is_difficult = _is_true(item.findtext("difficult", ""))
    return VocObject(number, name, is_difficult, tuple(ordered), tuple(problems), error)


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("1", "1.0", "true", "yes")


def _corners(box: ET.Element) -> Box:
    numbers = []
    for key in CORNER_TAGS:
        text = box.findtext(key)
        number = _number(text or "")
        if number is None:
            problem = "is missing" if text is None else f"is {text.strip()!r}, not a number"
            raise ValueError(f"the <{key}> of its bndbox {problem}; correct it")
        numbers.append(number)
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _enclosing(item: ET.Element) -> Box:
    """Return the box around the polygon or the rotated box of an object."""
    rotated = item.find("robndbox")
    if rotated is not None:
        values = [_number(rotated.findtext(key, "")) for key in ("cx", "cy", "w", "h", "angle")]
        x, y, w, h, angle = (math.nan if value is None else value for value in values)
        a = (w * abs(math.cos(angle)) + h * abs(math.sin(angle))) / 2
        b = (w * abs(math.sin(angle)) + h * abs(math.cos(angle))) / 2
        points = [(x - a, y - b), (x + a, y + b)]
    else:
        points = [point for polygon in item.findall("polygon") for point in _polygon(polygon)]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if not points or not all(map(math.isfinite, (*xs, *ys))):
        raise ValueError("it has no bndbox of four numbers; correct or remove it")
    return min(xs), min(ys), max(xs), max(ys)


def _polygon(polygon: ET.Element) -> Iterator[tuple[float, float]]:
    """Yield the points <pt><x/><y/></pt> or <x1/><y1/>, <x2/><y2/> of a polygon."""
    pairs = [(point.findtext("x", ""), point.findtext("y", "")) for point in polygon.iter("pt")]
    k = 1
    while polygon.find(f"x{k}") is not None:
        pairs.append((polygon.findtext(f"x{k}", ""), polygon.findtext(f"y{k}", "")))
        k += 1
    for pair in pairs:
        x, y = (math.nan if value is None else value for value in map(_number, pair))
        yield x, y


def _number(text: str) -> float | None:
    """Return a finite number; None for other texts."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
