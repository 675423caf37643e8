"""Read what detection needs of an XML file in Pascal VOC's format."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

from centernet2.data.class_names import clean_name
from centernet2.data.findings import Problem
from centernet2.data.geometry import rotated_extent
from centernet2.data.readers.json_records import finite_number

SHOWN_LETTERS = 40  # of a wrong text
CORNER_TAGS = ("xmin", "ymin", "xmax", "ymax")
EXCHANGED = Problem("boxes whose corners are exchanged", "repairs", "write xmin below xmax")
SEVERAL = Problem("objects with several boxes", "repairs", "each box is read as an object")
FROM_POLYGON = Problem(
    "objects with a polygon or a rotated box alone", "repairs", "its enclosing box is read"
)
TURNED_BOX = Problem(
    "boxes that are rotated by an attribute", "repairs",
    "the box around the rotated one is read",
)  # fmt: skip
ROTATION = "attributes/attribute[name='rotation']/value"  # of CVAT, in degrees
# of <difficult> and <deleted>, in lower case; the devkit writes 0 and 1
FLAG_WORDS = dict.fromkeys(("1", "1.0", "true", "yes"), True) | dict.fromkeys(
    ("", "0", "0.0", "false", "no", "unspecified"), False
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
    """The annotations of one image, in a fifth of the memory of the XML elements."""

    file_name: str  # as stated, without folders
    height: float | None  # as stated; None: missing or no number
    width: float | None
    counts_from_one: bool  # whether the first pixel is 1
    objects: tuple[VocObject, ...]
    deleted: tuple[int, ...]  # numbers of the objects that LabelMe marks as deleted


def read_annotation(root: ET.Element, path: Path) -> VocFile:
    """Read an <annotation>.

    Raises:
        ValueError: an object has no name, or an element occurs twice with different texts.
    """
    source = root.findtext("source/database", "") + " " + root.findtext("folder", "")
    items = dict(enumerate(root.iter("object"), start=1))
    try:
        deleted = tuple(n for n, item in items.items() if _flag(item, "deleted"))
        file_name = _text(root, "filename")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return VocFile(
        file_name.replace("\\", "/").rsplit("/", 1)[-1],
        _stated_edge(root, "height"),
        _stated_edge(root, "width"),
        re.search(r"\bVOC(20\d\d)?\b", source) is not None,
        tuple(_object(item, n, path) for n, item in items.items() if n not in deleted),
        deleted,
    )


def _object(item: ET.Element, number: int, path: Path) -> VocObject:
    problems: list[Problem] = []
    try:
        name = clean_name(_text(item, "name"))
    except ValueError as wrong:
        raise ValueError(f"{path}, object {number}: {wrong}") from wrong
    if not name:
        raise ValueError(f"{path}: object {number} has no 'name' of its class; add it")
    is_difficult, boxes, error = False, list[Box](), ""
    try:
        is_difficult = _flag(item, "difficult")
        boxes = _boxes(item, problems)
    except ValueError as wrong:
        error = str(wrong)
    problems += [EXCHANGED for x1, y1, x2, y2 in boxes if x1 > x2 or y1 > y2]
    ordered = [(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)) for x1, y1, x2, y2 in boxes]
    return VocObject(number, name, is_difficult, tuple(ordered), tuple(problems), error)


def _boxes(item: ET.Element, problems: list[Problem]) -> list[Box]:
    """Read the boxes of an object; what is repaired is added to `problems`."""
    boxes = [_corners(box) for box in item.findall("bndbox")]
    if len(boxes) > 1:
        problems.append(SEVERAL)
    if not boxes:
        problems.append(FROM_POLYGON)
        return [_enclosing(item)]
    for tag, place in product(("angle", "rotation"), ("", "bndbox/")):
        text = item.findtext(f"{place}{tag}", "").strip()
        if finite_number(text):
            raise ValueError(
                f"its box has {'a' if tag == 'rotation' else 'an'} <{tag}> of {text}, which is not "
                "read; write the box around the rotated one"
            )
    angle = math.radians(finite_number(item.findtext(ROTATION, "")) or 0.0)
    if not round(math.sin(angle), 9):
        return boxes
    problems.append(TURNED_BOX)
    return [_turned(box, angle) for box in boxes]


def _turned(box: Box, angle: float) -> Box:
    """Return the box around one that is rotated about its center, in radians."""
    x1, y1, x2, y2 = box
    width, height = rotated_extent(abs(x2 - x1), abs(y2 - y1), angle)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _text(parent: ET.Element, tag: str) -> str:
    """Return the text of a child without surrounding spaces; empty if there is none.

    Raises:
        ValueError: it occurs twice, with different texts.
    """
    texts = list(dict.fromkeys((child.text or "").strip() for child in parent.findall(tag)))
    if len(texts) > 1:
        raise ValueError(
            f"the <{tag}> of its <{parent.tag}> occurs twice, as {texts[0]!r} and {texts[1]!r}; "
            "remove one of them"
        )
    return texts[0] if texts else ""


def _flag(item: ET.Element, tag: str) -> bool:
    """Read an element that is 0 or 1, or a word for it."""
    text = _text(item, tag)
    flag = FLAG_WORDS.get(text.lower())
    if flag is None:
        raise ValueError(f"its <{tag}> is {text[:SHOWN_LETTERS]!r}; write 0 or 1")
    return flag


def _stated_edge(root: ET.Element, tag: str) -> float | None:
    """Read a size of the image; None: it is missing, no number, or two different ones."""
    numbers = {finite_number(each.text or "") for each in root.findall(f"size/{tag}")}
    return numbers.pop() if len(numbers) == 1 else None


def _corners(box: ET.Element) -> Box:
    numbers = []
    for key in CORNER_TAGS:
        text = _text(box, key)
        number = finite_number(text)
        if number is None:
            is_missing = box.find(key) is None
            problem = "is missing" if is_missing else f"is {text[:SHOWN_LETTERS]!r}, not a number"
            raise ValueError(f"the <{key}> of its bndbox {problem}; correct it")
        numbers.append(number)
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _enclosing(item: ET.Element) -> Box:
    """Return the box around the polygon or the rotated box of an object."""
    points = [point for box in item.findall("robndbox") for point in _rotated(box)]
    points += [point for polygon in item.findall("polygon") for point in _polygon(polygon)]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if not points or not all(map(math.isfinite, (*xs, *ys))):
        raise ValueError("it has no bndbox of four numbers; correct or remove it")
    return min(xs), min(ys), max(xs), max(ys)


def _rotated(box: ET.Element) -> list[tuple[float, float]]:
    """Return two corners of the box around a <robndbox> of roLabelImg, with radians."""
    values = [finite_number(_text(box, key)) for key in ("cx", "cy", "w", "h", "angle")]
    x, y, w, h, angle = (math.nan if value is None else value for value in values)
    if abs(angle) > 2 * math.pi:
        raise ValueError(
            f"the <angle> of its robndbox is {angle:g}, more than a full turn in radians; if it is "
            "in degrees, multiply it by pi / 180"
        )
    x1, y1, x2, y2 = _turned((x - w / 2, y - h / 2, x + w / 2, y + h / 2), angle)
    return [(x1, y1), (x2, y2)]


def _polygon(polygon: ET.Element) -> Iterator[tuple[float, float]]:
    """Yield the points <pt><x/><y/></pt> or <x1/><y1/>, <x2/><y2/> of a polygon."""
    pairs = [(point.findtext("x", ""), point.findtext("y", "")) for point in polygon.iter("pt")]
    k = 1
    while polygon.find(f"x{k}") is not None:
        pairs.append((polygon.findtext(f"x{k}", ""), polygon.findtext(f"y{k}", "")))
        k += 1
    for pair in pairs:
        x, y = (math.nan if value is None else value for value in map(finite_number, pair))
        yield x, y
