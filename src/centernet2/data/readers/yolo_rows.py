"""Read the rows of YOLO's label files, and tell apart what their numbers mean.

A row is a class, then numbers: a box (center, width, height), a polygon, a rotated box (the polygon
of its four corners), or a box with key points. Detectors append a confidence, and trackers a number
after it. Nothing in a row says which it is; data.yaml and all rows of a split together do.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from centernet2.data.findings import Problem, Tally
from centernet2.data.readers.yolo_sources import YoloSource
from centernet2.files import read_text_file

SAMPLE = 300  # rows that decide between polygons and key points
SLACK = 0.5  # shares of the image by which coordinates may exceed it; more is another unit
BORDER = 0.02  # by which a good box may exceed the image
MANY_ROWS = 20  # that show that boxes begin with a corner
MANY_OUTSIDE = 0.1  # share of boxes beyond their image that shows another form of boxes
MOSTLY, FEW = 0.95, 0.8  # shares of rows
MIN_ROWS = 3  # that show key points by their shape
SEPARATORS = Problem(
    "label rows with commas or semicolons", "repairs", "separate the numbers by spaces"
)
NAMED = Problem(
    "label rows with a class name in place of its number", "repairs", "write the number"
)
CONFIDENCES = Problem("label rows with a confidence", "note", "it is not used")
KEY_POINTS = Problem("label rows with key points", "note", "the box is used, the points are not")
MIXED = Problem(
    "label rows with a polygon beside rows with a box", "note",
    "each row is read by its own form; training masks leaves out boxes",
)  # fmt: skip


class LabelRow(NamedTuple):
    """One object of a label file."""

    place: str  # file and line, for messages
    image: int  # index of its image
    label: int
    numbers: tuple[float, ...]  # after the class


class RowForm(NamedTuple):
    """How the numbers of a row are read."""

    is_polygon: bool
    used: int  # numbers of the box or polygon; the others are not used
    problem: Problem | None = None


BOX = RowForm(False, 4)


class AmbiguousRows(ValueError):
    """Rows that may be polygons, or boxes with key points."""


class RowErrors:
    """The wrong rows of a split; the first is raised, with the number of the others."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, row: LabelRow | str, problem: str) -> None:
        place = row if isinstance(row, str) else row.place
        self.texts.append(f"{place}: {problem}")

    def raise_first(self) -> None:
        """Raise a ValueError if there are any."""
        if self.texts:
            others = len(self.texts) - 1
            more = f" ({others} more rows of the split are wrong)" if others else ""
            raise ValueError(self.texts[0] + more)


def read_rows(
    files: Sequence[Path | None],
    source: YoloSource,
    tally: Tally,
    other_files: Callable[[], Sequence[Path | None]] = tuple,
) -> list[tuple[LabelRow, RowForm]]:
    """Read all rows of the label files of a split, one file or None per image.

    The label files of the other splits are read if the rows of this one do not show their form.

    Raises:
        ValueError: a row is wrong, or what the rows mean is not certain; names file and line.
    """
    errors = RowErrors()
    rows = _rows_of_files(files, source, tally, errors)
    errors.raise_first()
    try:
        forms = tell_forms(rows, source)
    except AmbiguousRows:
        others = _rows_of_files(other_files(), source, Tally(""), RowErrors())
        if not others:
            raise
        forms = tell_forms([*rows, *others], source)
    for row in rows:
        if len(row.numbers) not in forms:
            errors.add(row, _wrong_count(len(row.numbers), source))
    errors.raise_first()
    _check_classes(rows, source, errors)
    errors.raise_first()
    formed = [(row, forms[len(row.numbers)]) for row in rows]
    _check_range(formed, errors)
    errors.raise_first()
    _refuse_other_corners([row for row, form in formed if not form.is_polygon])
    polygons = sum(form.is_polygon for _, form in formed)
    for row, form in formed:
        if form.problem is not None:
            tally.add(form.problem, row.place)
        if form.is_polygon and polygons < len(formed):
            tally.add(MIXED, row.place)
    return formed


def _rows_of_files(
    files: Sequence[Path | None], source: YoloSource, tally: Tally, errors: RowErrors
) -> list[LabelRow]:
    number_of = {name: number for number, name in source.classes.items()}
    return [
        row
        for image, file in enumerate(files)
        if file is not None
        for row in _rows_of_file(file, image, number_of, tally, errors)
    ]


def _rows_of_file(
    file: Path, image: int, number_of: Mapping[str, int], tally: Tally, errors: RowErrors
) -> Iterator[LabelRow]:
    for number, line in enumerate(read_text_file(file).split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{file}, line {number}"
        words = line.split()
        if "," in line or ";" in line:
            words = _separate(line)
            tally.add(SEPARATORS, place)
        try:
            label, numbers, is_named = _parse(words, number_of)
        except ValueError as error:
            errors.add(place, str(error))
            continue
        if is_named:
            tally.add(NAMED, place)
        yield LabelRow(place, image, label, numbers)


def _separate(line: str) -> list[str]:
    """Split a row with commas or semicolons between its numbers, or with decimal commas."""
    if ";" in line:
        return line.replace(";", " ").replace(",", ".").split()
    words = line.split()
    are_decimals = len(words) > 1 and "." not in line
    if are_decimals and all(re.fullmatch(r"-?\d+(,\d+(e-?\d+)?)?", word) for word in words[1:]):
        return line.replace(",", ".").split()
    return line.replace(",", " ").split()


def _parse(
    words: Sequence[str], number_of: Mapping[str, int]
) -> tuple[int, tuple[float, ...], bool]:
    """Return the class number, the other numbers, and whether the class was given by name."""
    value, length = _number(words[0]), 1
    if value is None:
        name = next((k for k in range(len(words), 0, -1) if " ".join(words[:k]) in number_of), 0)
        if not name:
            raise ValueError(f"{words[0]!r} is neither a number nor a class's name; correct it")
        value, length = float(number_of[" ".join(words[:name])]), name
    if not value.is_integer():
        raise ValueError(f"the class is {words[0]}, not a whole number; correct it")
    numbers = []
    for word in words[length:]:
        number = _number(word)
        if number is None:
            raise ValueError(f"{word!r} is not a number, or not a finite one; correct it")
        numbers.append(number)
    return int(value), tuple(numbers), _number(words[0]) is None


def _number(word: str) -> float | None:
    """Return a finite number; None for other words."""
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def tell_forms(rows: Sequence[LabelRow], source: YoloSource) -> dict[int, RowForm]:
    """Tell the form of the rows of a split by how many numbers follow the class.

    Raises:
        ValueError: boxes with key points and polygons cannot be told apart.
    """
    groups: dict[int, list[LabelRow]] = {}
    for row in rows:
        groups.setdefault(len(row.numbers), []).append(row)
    forms = {4: BOX}
    if 5 in groups and _all(groups[5], lambda numbers: _is_share(numbers[4])):
        forms[5] = RowForm(False, 4, CONFIDENCES)
    if source.keypoints is not None:
        points, numbers = source.keypoints
        count = 4 + points * numbers
        _refuse_polygons(groups.get(count, ()), source)
        return forms | {count + k: RowForm(False, 4, KEY_POINTS) for k in (0, 1, 2)}
    wide = {count: group for count, group in groups.items() if count >= 6}
    if source.task == "pose":
        return forms | dict.fromkeys(wide, RowForm(False, 4, KEY_POINTS))
    if source.task in ("segment", "obb"):
        return forms | _polygon_forms(wide)
    for count, group in wide.items():
        if _have_visibility(group):
            return forms | {count: RowForm(False, 4, KEY_POINTS)}
    if set(wide) == {6} and _have_confidence_and_track(wide[6], box=True):
        forms[6] = RowForm(False, 4, CONFIDENCES)
    elif len(wide) == 1:
        ((count, group),) = wide.items()
        if not _are_polygons(group, source):
            return forms | {count: RowForm(False, 4, KEY_POINTS)}
    return _polygon_forms(wide) | forms


def _refuse_polygons(rows: Sequence[LabelRow], source: YoloSource) -> None:
    """Refuse polygons among rows that are boxes with key points according to kpt_shape."""
    _, numbers = source.keypoints or (0, 0)
    unusual = [row for row in rows if numbers == 3 and not _has_visibility(row.numbers)]
    polygons = [row for row in rows if _is_parallelogram(_points(row.numbers))]
    if unusual and (len(unusual) < len(rows) or _are_polygons(unusual, source)):
        polygons = unusual
    if polygons:
        raise ValueError(
            f"{polygons[0].place}: the numbers are a polygon, but kpt_shape of {source.path.name} "
            "says that they are a box and key points; correct one of them"
        )


def _has_visibility(numbers: Sequence[float]) -> bool:
    """Whether the third number of each key point is 0, 1 or 2."""
    return all(number in (0, 1, 2) for number in numbers[6::3])


def _all(rows: Sequence[LabelRow], condition: Callable[[tuple[float, ...]], bool]) -> bool:
    return all(condition(row.numbers) for row in rows)


def _is_share(number: float) -> bool:
    return 0 <= number <= 1


def _have_confidence_and_track(rows: Sequence[LabelRow], *, box: bool = False) -> bool:
    """Whether the last two numbers of all rows are a confidence and the number of a track."""
    return _all(
        rows,
        lambda x: (
            _is_share(x[-2])
            and x[-1] >= 0
            and x[-1].is_integer()
            and (not box or _is_box_inside(x))
        ),
    )


def _have_visibility(rows: Sequence[LabelRow]) -> bool:
    """Whether every third number after a box is 0, 1 or 2, as with key points."""
    count = len(rows[0].numbers)
    if (count - 4) % 3:
        return False
    boxes = sum(_is_box_inside(row.numbers) for row in rows)
    return _all(rows, _has_visibility) and boxes >= MOSTLY * len(rows)


def _polygon_forms(groups: Mapping[int, Sequence[LabelRow]]) -> dict[int, RowForm]:
    """Read rows as polygons: without a confidence, with one, or with one and a track's number."""
    forms = {}
    all_odd = all(count % 2 for count in groups)
    for count, group in groups.items():
        if count % 2 == 0:
            far = any(row.numbers[-1] > 1 + SLACK for row in group)
            tracked = count >= 8 and far and _have_confidence_and_track(group)
            forms[count] = RowForm(True, count - 2 * tracked, CONFIDENCES if tracked else None)
        elif all_odd and count >= 7 and _all(group, lambda x: _is_share(x[-1])):
            forms[count] = RowForm(True, count - 1, CONFIDENCES)
    return forms


def _are_polygons(rows: Sequence[LabelRow], source: YoloSource) -> bool:
    """Whether rows with the same count of numbers are polygons, not boxes with key points.

    Corners of rotated boxes form a parallelogram. The first four numbers of a polygon are rarely a
    box inside the image, and its sides do not cross each other as lines between key points do.
    """
    sample = rows[:: max(1, len(rows) // SAMPLE)]
    count = len(rows[0].numbers)
    polygons = [_points(row.numbers[: count - count % 2]) for row in sample]
    if _share(map(_is_parallelogram, polygons)) >= MOSTLY:
        return True
    if count >= 8 and _share(points[0] == points[-1] for points in polygons) >= MOSTLY:
        return True
    boxes = max(
        _share(_is_box_with_points(row.numbers, step) for row in sample)
        for step in (2, 3)
        if (count - 4) % step in (0, 1)  # a confidence may follow
    )
    simple = _share(map(_is_simple, polygons))
    if boxes >= MOSTLY and simple < FEW and len(sample) >= MIN_ROWS:
        return False
    if boxes < MOSTLY and simple >= boxes:
        return True
    raise AmbiguousRows(
        f"{rows[0].place}: has {count} numbers after the class, as all {len(rows)} rows of this "
        "kind: a polygon, or a box with key points; write 'task: segment' or 'task: pose' into "
        f"{source.path.name if source.path.suffix in ('.yaml', '.yml') else 'a data.yaml'}"
    )


def _share(values: Iterator[bool] | Sequence[bool]) -> float:
    flags = list(values)
    return sum(flags) / len(flags)


def _points(numbers: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(numbers[0::2], numbers[1::2], strict=False))


def _is_box_inside(numbers: Sequence[float]) -> bool:
    x, y, w, h = numbers[:4]
    return (
        0 < w <= 1 + BORDER
        and 0 < h <= 1 + BORDER
        and -BORDER <= x - w / 2 <= x + w / 2 <= 1 + BORDER
        and -BORDER <= y - h / 2 <= y + h / 2 <= 1 + BORDER
    )


def _is_box_with_points(numbers: Sequence[float], step: int) -> bool:
    """Whether half of the key points are in their box, or not annotated (0, 0)."""
    if not _is_box_inside(numbers):
        return False
    x, y, w, h = numbers[:4]
    count = (len(numbers) - 4) // step
    points = list(zip(numbers[4::step], numbers[5::step], strict=False))[:count]
    near = sum((abs(a - x) <= 0.6 * w and abs(b - y) <= 0.6 * h) or a == b == 0 for a, b in points)
    return 2 * near >= len(points)


def _is_parallelogram(points: Sequence[tuple[float, float]]) -> bool:
    if len(points) != 4:
        return False
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points
    size = max(abs(ax - cx), abs(ay - cy), abs(bx - dx), abs(by - dy))
    return max(abs(ax + cx - bx - dx), abs(ay + cy - by - dy)) <= 0.05 * size + 1e-6


def _is_simple(points: Sequence[tuple[float, float]]) -> bool:
    """Whether no two sides of a polygon cross each other."""
    sides = list(zip(points, [*points[1:], points[0]], strict=True))
    return not any(
        _cross(sides[i], sides[j])
        for i in range(len(sides))
        for j in range(i + 2, len(sides) - (i == 0))
    )


Side = tuple[tuple[float, float], tuple[float, float]]


def _cross(first: Side, second: Side) -> bool:
    """Whether two segments cross at an inner point of both."""

    def turn(side: Side, point: tuple[float, float]) -> float:
        (ax, ay), (bx, by) = side
        return (bx - ax) * (point[1] - ay) - (by - ay) * (point[0] - ax)

    return (
        turn(first, second[0]) * turn(first, second[1]) < 0
        and turn(second, first[0]) * turn(second, first[1]) < 0
    )


def _wrong_count(count: int, source: YoloSource) -> str:
    if source.keypoints is not None:
        points, numbers = source.keypoints
        return (
            f"has {count} numbers after the class, but with kpt_shape [{points}, {numbers}] of "
            f"{source.path.name} it needs {4 + points * numbers}; correct one of them"
        )
    return (
        f"has {count} numbers after the class; a box has 4, a polygon an even number from 6 on, "
        "and a confidence after them is between 0 and 1; correct the row"
    )


def _check_classes(rows: Sequence[LabelRow], source: YoloSource, errors: RowErrors) -> None:
    """Refuse class numbers without a name; say if the numbers begin with 1."""
    unknown = [row for row in rows if row.label not in source.classes]
    if not unknown:
        return
    used = {row.label for row in rows}
    count = len(source.classes)
    hint = "correct one of them"
    if min(used) == 1 and max(used) == count and set(source.classes) == set(range(count)):
        hint = (
            "no row has class 0, so the numbers seem to begin with 1: subtract 1 from each of "
            "them, or number the names from 1"
        )
    for row in unknown:
        numbers = f"{min(source.classes)} to {max(source.classes)}"
        errors.add(
            row,
            f"names class {row.label}, but {source.path.name} has {count} classes, numbered "
            f"{numbers}; {hint}",
        )


def _check_range(rows: Sequence[tuple[LabelRow, RowForm]], errors: RowErrors) -> None:
    """Refuse coordinates far outside the image, such as percent or pixels."""
    far = [
        (row, max(row.numbers[: form.used], key=abs))
        for row, form in rows
        if not all(-SLACK <= x <= 1 + SLACK for x in row.numbers[: form.used])
    ]
    if not far:
        return
    if 2 * len(far) < len(rows):
        unit = "a share of the width or height is between 0 and 1; correct or remove the row"
    elif max(abs(number) for _, number in far) <= 100 + SLACK:
        unit = "the rows seem to be percent, or pixels: divide them by 100 or by the image's sides"
    else:
        unit = "the rows seem to be pixels: divide them by the width and height of their image"
    for row, number in far:
        errors.add(row, f"has {number:g} in place of a share of the image; {unit}")


def _refuse_other_corners(rows: Sequence[LabelRow]) -> None:
    """Refuse boxes that are corners, or begin with a corner, in place of center and size.

    They are if many of them exceed their image as center and size, but none in the other form.
    """
    outside = [row for row in rows if min(row.numbers[2:4]) > 0 and not _is_box_inside(row.numbers)]
    if len(outside) < max(2, MANY_OUTSIDE * len(rows)):
        return
    forms = {
        "the corners x1, y1, x2, y2": _all(
            rows, lambda n: 0 <= n[0] < n[2] <= 1 + BORDER and 0 <= n[1] < n[3] <= 1 + BORDER
        ),
        "the upper left corner, width and height": len(rows) >= MANY_ROWS
        and _all(
            rows,
            lambda n: min(n[:2]) >= 0 and max(n[0] + n[2], n[1] + n[3]) <= 1 + BORDER,
        ),
    }
    for form, fits in forms.items():
        if fits:
            raise ValueError(
                f"{outside[0].place}: the box exceeds its image, as {len(outside)} of "
                f"{len(rows)} boxes; they seem to be {form}; write center, width and height"
            )
