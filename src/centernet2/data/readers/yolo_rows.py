"""Read and check the rows of YOLO's label files: a class, then numbers.

`yolo_forms` tells what the numbers are.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from centernet2.data.class_names import clean_name
from centernet2.data.findings import Problem, Tally
from centernet2.data.readers.json_records import finite_number
from centernet2.data.readers.yolo_forms import (
    BORDER,
    MANY_ROWS,
    SLACK,
    LabelRow,
    RowForm,
    holds_for_all,
    is_box_inside,
    may_be_other_forms,
    tell_forms,
)
from centernet2.data.readers.yolo_sources import YoloSource
from centernet2.text_files import read_text_file

MANY_OUTSIDE = 0.1  # share of boxes beyond their image that shows another form of boxes
SEPARATORS = Problem(
    "label rows with commas or semicolons", "repairs", "separate the numbers by spaces"
)
NAMED = Problem(
    "label rows with a class name in place of its number", "repairs", "write the number"
)
MIXED = Problem(
    "label rows with a polygon beside rows with a box", "note",
    "each row is read by its own form; training masks leaves out boxes",
)  # fmt: skip


def read_rows(
    files: Sequence[Path | None],
    source: YoloSource,
    tally: Tally,
    other_files: Callable[[], Sequence[Path | None]],
) -> list[tuple[LabelRow, RowForm]]:
    """Read all rows of the label files of a split, one file or None per image.

    The label files of the other splits are read, too, if rows may have one of several forms: the
    few rows of a small split may have that of others by chance.

    Raises:
        ValueError: a row is wrong, or what the rows mean is not certain; names file and line.
    """
    errors: list[str] = []
    rows = _rows_of_files(files, source, tally, errors)
    _raise_first(errors)
    others = _good_rows(other_files(), source) if may_be_other_forms(rows, source) else []
    forms = tell_forms([*rows, *others], source)
    _raise_first(
        f"{row.place}: {_wrong_count(len(row.numbers), source)}"
        for row in rows
        if len(row.numbers) not in forms
    )
    _raise_first(_wrong_classes(rows, source))
    formed = [(row, forms[len(row.numbers)]) for row in rows]
    _raise_first(_wrong_ranges(formed))
    _refuse_other_corners([row for row, form in formed if not form.is_polygon])
    polygons = sum(form.is_polygon for _, form in formed)
    for row, form in formed:
        if form.problem is not None:
            tally.add(form.problem, row.place)
        if form.is_polygon and polygons < len(formed):
            tally.add(MIXED, row.place)
    return formed


def _raise_first(errors: Iterable[str]) -> None:
    """Raise ValueError for the first wrong row of a split, and count the others."""
    texts = list(errors)
    if texts:
        others = len(texts) - 1
        more = f" ({others} more rows of the split are wrong)" if others else ""
        raise ValueError(texts[0] + more)


def _rows_of_files(
    files: Sequence[Path | None], source: YoloSource, tally: Tally, errors: list[str]
) -> list[LabelRow]:
    number_of = {name: number for number, name in source.classes.items()}
    return [
        row
        for image, file in enumerate(files)
        if file is not None
        for row in _rows_of_file(file, image, number_of, tally, errors)
    ]


def _good_rows(files: Sequence[Path | None], source: YoloSource) -> list[LabelRow]:
    """Read the rows of other splits; wrong ones are refused with their own split."""
    rows: list[LabelRow] = []
    for file in files:
        with suppress(ValueError, OSError):
            rows += _rows_of_files([file], source, Tally(""), [])
    return rows


def _rows_of_file(
    file: Path, image: int, number_of: Mapping[str, int], tally: Tally, errors: list[str]
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
            errors.append(f"{place}: {error}")
            continue
        if is_named:
            tally.add(NAMED, place)
        yield LabelRow(place, image, label, numbers)


def _separate(line: str) -> list[str]:
    """Split a row that has commas or semicolons between numbers, or decimal commas."""
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
    """Return the class number, the other numbers, and whether a name gave the class."""
    value, length = finite_number(words[0]), 1
    if value is None:
        names = {k: clean_name(" ".join(words[:k])) for k in range(len(words), 0, -1)}
        length = next((k for k, name in names.items() if name in number_of), 0)
        if not length:
            raise ValueError(f"{words[0]!r} is neither a number nor a class's name; correct it")
        value = float(number_of[names[length]])
    if not value.is_integer():
        raise ValueError(f"the class is {words[0]}, not a whole number; correct it")
    numbers = []
    for word in words[length:]:
        number = finite_number(word)
        if number is None:
            raise ValueError(f"{word!r} is not a number, or not a finite one; correct it")
        numbers.append(number)
    return int(value), tuple(numbers), finite_number(words[0]) is None


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


def _wrong_classes(rows: Sequence[LabelRow], source: YoloSource) -> Iterator[str]:
    """Name the rows whose class number has no name; say if the numbers begin with 1."""
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
    numbers = f"{min(source.classes)} to {max(source.classes)}"
    for row in unknown:
        yield (
            f"{row.place}: names class {row.label}, but {source.path.name} has {count} classes, "
            f"numbered {numbers}; {hint}"
        )


def _wrong_ranges(rows: Sequence[tuple[LabelRow, RowForm]]) -> Iterator[str]:
    """Name the rows with coordinates far outside the image, such as percent or pixels."""
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
        yield f"{row.place}: has {number:g} in place of a share of the image; {unit}"


def _refuse_other_corners(rows: Sequence[LabelRow]) -> None:
    """Refuse boxes that are corners, or corner and size, not center and size.

    They are if many of them exceed their image as center and size, but none in the other form.
    """
    outside = [row for row in rows if min(row.numbers[2:4]) > 0 and not is_box_inside(row.numbers)]
    if len(outside) < max(2, MANY_OUTSIDE * len(rows)):
        return
    forms = {
        "the corners x1, y1, x2, y2": holds_for_all(
            rows, lambda n: 0 <= n[0] < n[2] <= 1 + BORDER and 0 <= n[1] < n[3] <= 1 + BORDER
        ),
        "the upper left corner, width and height": len(rows) >= MANY_ROWS
        and holds_for_all(
            rows, lambda n: min(n[:2]) >= 0 and max(n[0] + n[2], n[1] + n[3]) <= 1 + BORDER
        ),
    }
    for form, fits in forms.items():
        if fits:
            raise ValueError(
                f"{outside[0].place}: the box exceeds its image, as {len(outside)} of "
                f"{len(rows)} boxes; they seem to be {form}; write center, width and height"
            )
