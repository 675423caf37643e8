"""Join ids and names in a results file to the images and classes of a data set.

Each way to read them is tried on the whole file: names, ids as they are, ids as another type, and
what other programs write in place of ids. An id of two images, in joined data sets, names none.
"""

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from centernet2.data.class_names import SHOWN_NAMES, clean_name
from centernet2.data.dataset import DetectionDataset
from centernet2.data.readers.json_records import as_id, lenient_integer
from centernet2.data.readers.results.detection_agreement import (
    Placed,
    is_clearly_better,
    share_of_right_class,
    share_on_objects,
)
from centernet2.data.readers.results.detection_table import NEEDED_KEYS, DetectionTable
from centernet2.data.readers.results.image_names import (
    AMBIGUOUS,
    UNKNOWN,
    Find,
    file_finder,
    is_other_file,
    positions_of,
)
from centernet2.data.user_ids import unpack_id
from centernet2.structures import IntArray

IMAGE_NAME_KEYS = ("file_name", "file")
CLASS_NAME_KEYS = ("category_name", "class_name", "category", "class")
ON_OBJECTS = 0.5  # share of the best detections that confirms how the images are read
RIGHT_CLASSES, WRONG_CLASSES = 0.7, 0.1  # shares that confirm and refute how the classes are read
LARGEST_EXACT_FLOAT = 2**53
MISSING = (None,)  # in place of an id


class RecordNames(NamedTuple):
    """The names of a file's own ids, if it has lists of images and categories."""

    files: Mapping[Hashable, str]
    classes: Mapping[Hashable, str]


@dataclass(frozen=True)
class _Reading:
    """One way to read a column."""

    what: str  # for messages
    values: Sequence[Any]  # [D] ids or names
    found: Mapping[Any, int]  # each distinct value -> position, UNKNOWN or AMBIGUOUS

    @property
    def is_complete(self) -> bool:
        return min(self.found.values()) >= 0

    @cached_property
    def positions(self) -> IntArray:  # [D]
        found = (self.found[value] for value in self.values)
        return np.fromiter(found, np.int64, len(self.values))

    @property
    def has_values(self) -> bool:
        return any(value != MISSING for value in self.found)

    def failures(self) -> list[int]:
        rows: list[int] = np.flatnonzero(self.positions < 0).tolist()
        return rows


def find_image_indices(
    table: DetectionTable, names: RecordNames, dataset: DetectionDataset, placed: Placed
) -> IntArray:  # [D] image index
    """Find the image of each detection."""
    ids = _hashable(table.column("image_id"))
    by_id = positions_of([unpack_id(dataset.image_ids, i) for i in range(len(dataset))])
    by_file = file_finder([os.fsdecode(file) for file in dataset.files])
    plain = _read("image_id", ids, _finder(by_id))
    named = _read_names("file name", table, IMAGE_NAME_KEYS, names.files, ids, by_file)
    if named is not None and named.is_complete:
        _note_contradiction(table, named, plain)
        _note_other_files(table, named, dataset, placed)
        return named.positions
    by_stem = _read("image_id", ids, by_file)
    if plain.is_complete:
        _note_unknown_names(table, named)
        shares = [share_on_objects(dataset, placed, each) for each in _rivals(by_stem, plain)]
        if not shares or not is_clearly_better(*shares, least=ON_OBJECTS):
            return plain.positions
        advice = (
            "image_id is read as the name of the image file, because the boxes lie on no objects "
            "of the image with this id"
        )
        return _note_reading(table, by_stem, range(len(ids)), advice)
    other_type = _read("image_id", ids, _of_other_type(by_id))
    for reading, meaning in ((other_type, "an id of another type"), (by_stem, "a file name")):
        if reading.is_complete:
            _note_other_files(table, reading, dataset, placed)
            return _note_reading(table, reading, plain.failures(), f"image_id is read as {meaning}")
    raise _unknown(table, plain if named is None or plain.has_values else named)


def find_labels(
    table: DetectionTable,
    names: RecordNames,
    dataset: DetectionDataset,
    placed: Placed,
    images: IntArray,
) -> IntArray:  # [D] label
    """Find the class of each detection."""
    ids = _hashable(table.column("category_id"))
    count = len(dataset.class_names)
    by_id, label_of = positions_of(dataset.category_ids), positions_of(dataset.class_names)
    for name, number, new in dataset.renamed:  # as the file may call them
        if new in label_of:
            by_id.setdefault(number, label_of[new])
            label_of.setdefault(name, label_of[new])
    by_name = _name_finder(label_of)
    plain = _read("category_id", ids, _finder(by_id))
    named = _read_names("class name", table, CLASS_NAME_KEYS, names.classes, ids, by_name)
    if named is not None:
        if named.is_complete:
            _note_contradiction(table, named, plain)
            return named.positions
        if not _ids_decide(dataset, placed, images, plain, named):
            known = ", ".join(dataset.class_names[:SHOWN_NAMES])
            more = ", ..." if len(dataset.class_names) > SHOWN_NAMES else ""
            raise _unknown(table, named, known=f"; it has {known}{more}")
        _note_unknown_names(table, named)
        return plain.positions
    other_type = _read("category_id", ids, _of_other_type(by_id))
    of_name = _read("category_id", ids, by_name)
    for reading, meaning in ((other_type, "an id of another type"), (of_name, "a class name")):
        if reading.is_complete and not plain.is_complete:
            advice = f"category_id is read as {meaning}"
            return _note_reading(table, reading, plain.failures(), advice)
    for first in (0, 1):  # numbers in the order of the classes, as other programs write them
        counted = _read("category_id", ids, _number_from(first, count))
        shares = [
            share_of_right_class(dataset, placed, images, each) for each in _rivals(counted, plain)
        ]
        if shares and is_clearly_better(*shares, least=RIGHT_CLASSES):
            advice = (
                f"category_id is read as the number of a class, where {first} is "
                f"'{dataset.class_names[0]}', because only so the classes agree with the objects"
            )
            return _note_reading(table, counted, range(len(ids)), advice)
    if not plain.is_complete:
        raise _unknown(table, plain)
    if share_of_right_class(dataset, placed, images, plain.positions) < WRONG_CLASSES:
        table.note(
            "class", "keeps", range(len(ids)),
            "hardly any detection has the class of the object that it lies on; are the category "
            "ids those of the data set?",
        )  # fmt: skip
    return plain.positions


def _ids_decide(
    dataset: DetectionDataset, placed: Placed, images: IntArray, plain: _Reading, named: _Reading
) -> bool:
    """Whether class ids hold although names are unknown, such as supercategories.

    They do if neither a name that is known nor the objects contradict them.
    """
    if not plain.is_complete:
        return False
    contradicted = (named.positions >= 0) & (named.positions != plain.positions)
    share = share_of_right_class(dataset, placed, images, plain.positions)
    return not contradicted.any() and not share < RIGHT_CLASSES


def _read(what: str, values: Sequence[Any], find: Find) -> _Reading:
    return _Reading(what, values, {value: find(value) for value in set(values)})


def _hashable(column: Sequence[Any]) -> list[Hashable]:
    """Return ids as integers and text, and other values as ones that equal no id.

    JSON writers turn ids into floats, which are exact below 2^53.
    """
    if {type(value) for value in column} <= {int, str}:
        return list(column)
    return [_hashable_id(value) for value in column]


def _hashable_id(value: Any) -> Hashable:
    is_rounded = isinstance(value, float) and abs(value) >= LARGEST_EXACT_FLOAT
    identity = None if is_rounded else as_id(value)
    if identity is not None:
        return identity
    return MISSING if value is None else (repr(value),)


def _finder(positions: Mapping[Any, int]) -> Find:
    return lambda value: positions.get(value, UNKNOWN)


def _name_finder(positions: Mapping[Any, int]) -> Find:
    """Find class names, which may have spaces around them or another Unicode form."""
    return lambda value: positions.get(
        clean_name(value) if isinstance(value, str) else value, UNKNOWN
    )


def _of_other_type(by_id: Mapping[Any, int]) -> Find:
    """Find integers written as text, and text written as integers."""
    numbers = positions_of([number for key in by_id if (number := _as_integer(key)) is not None])
    keys = {_as_integer(key): key for key in by_id}

    def find(value: Any) -> int:
        if value in by_id:
            return by_id[value]
        number = _as_integer(value)
        position = numbers.get(number, UNKNOWN)
        return by_id[keys[number]] if position >= 0 else position

    return find


def _as_integer(value: Any) -> int | None:
    if isinstance(value, int):
        return value
    return lenient_integer(value) if isinstance(value, str) else None


def _number_from(first: int, count: int) -> Find:
    return lambda value: (
        value - first if isinstance(value, int) and 0 <= value - first < count else UNKNOWN
    )


def _read_names(
    what: str,
    table: DetectionTable,
    keys: Sequence[str],
    of_id: Mapping[Hashable, str],
    ids: Sequence[Hashable],
    find: Find,
) -> _Reading | None:
    """Read the detections' names, or their ids' names in the file; None without names."""
    for key in keys:
        column = table.column(key) if key in table.keys else []
        if column and all(isinstance(value, str) for value in column):
            return _read(what, column, find)
    return _read(what, [of_id.get(value, MISSING) for value in ids], find) if of_id else None


def _rivals(other: _Reading, plain: _Reading) -> list[IntArray]:
    """Return the positions of two readings, or none if there is nothing to decide."""
    if not other.is_complete or other.found == plain.found:
        return []
    return [other.positions, plain.positions]


def _note_reading(
    table: DetectionTable, reading: _Reading, rows: Sequence[int], advice: str
) -> IntArray:
    table.note(reading.what, "repairs", rows, advice)
    return reading.positions


def _note_contradiction(table: DetectionTable, named: _Reading, plain: _Reading) -> None:
    differ = (plain.positions >= 0) & (named.positions != plain.positions)
    table.note(
        plain.what, "keeps", np.flatnonzero(differ).tolist(),
        f"the {named.what} decides: the {plain.what} is that of another one in the data set",
    )  # fmt: skip


def _note_other_files(
    table: DetectionTable, reading: _Reading, dataset: DetectionDataset, placed: Placed
) -> None:
    """Note files of another folder or suffix, unless enough boxes lie on objects."""
    other = {
        value
        for value, i in reading.found.items()
        if isinstance(value, str) and is_other_file(value, str(dataset.image_path(i)))
    }
    if other and share_on_objects(dataset, placed, reading.positions) < ON_OBJECTS:
        table.note(
            "other file", "keeps", [i for i, value in enumerate(reading.values) if value in other],
            "the image of this name has another folder or suffix in the data set, and few boxes "
            "lie on its objects; were these detections made on other images?",
        )  # fmt: skip


def _note_unknown_names(table: DetectionTable, named: _Reading | None) -> None:
    if named is not None:
        advice = f"the {named.what} is not in the data set: the id decides"
        table.note(named.what, "keeps", named.failures(), advice)


def _unknown(table: DetectionTable, reading: _Reading, *, known: str = "") -> ValueError:
    failures = reading.failures()
    row = failures[0]
    value = reading.values[row]
    if value == MISSING:
        return table.error(row, f"has no {reading.what}; {NEEDED_KEYS}")
    shown = value[0] if isinstance(value, tuple) else repr(value)
    if reading.positions[row] == AMBIGUOUS:
        advice = (
            "evaluate one of the data sets in DATASETS.TEST at a time"
            if reading.what == "image_id"
            else "give its path below the folder of the images"
        )
        return table.error(
            row, f"is of {reading.what} {shown}, which several images have; {advice}"
        )
    others = "" if len(failures) == 1 else f" (nor are those of {len(failures) - 1} others)"
    return table.error(
        row,
        f"is of {reading.what} {shown}, which is not in the data set{others}{known}; "
        "were these detections made on another one?",
    )
