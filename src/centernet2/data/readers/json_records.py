"""The records of a COCO JSON file as columns; findings name the record.

A column is first read as all well-formed files have it. Only if a value is of another type, its
values are looked at one by one.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np

from centernet2.data.findings import FindingLog, ProblemExample
from centernet2.structures import FloatArray, IntArray, UserId

UNKNOWN, LEFT_OUT = -1, -2  # in place of a position: no such record, or one that cannot be used
Record = dict[str, Any]  # a JSON object: the whole content, or one entry of its lists


class RecordTable:
    """One list of the JSON file, read column by column."""

    def __init__(self, kind: str, content: Record, key: str, log: FindingLog) -> None:
        value = content.get(key)
        self.kind, self.log = kind, log
        entries: list[Any] = value if isinstance(value, list) else []
        self.records: list[Record] = [each for each in entries if isinstance(each, dict)]
        self.numbers: Sequence[int] = range(len(entries))  # of the records in the list
        self.place: Callable[[int], str] = lambda row: ""  # file name of a row's image
        if value is not None and not isinstance(value, list):
            log.add(
                f"{key} that are not a list", "refuses", "write a list of JSON objects", [0],
                lambda _: ProblemExample(f"{key!r} is not a list"),
            )  # fmt: skip
        if len(self.records) < len(entries):
            self.numbers = [i for i, each in enumerate(entries) if isinstance(each, dict)]
            others = [i for i, each in enumerate(entries) if not isinstance(each, dict)]
            log.add(
                f"{key} that are not JSON objects", "refuses", "remove them", others,
                lambda i: ProblemExample(f"{kind} number {i + 1} is {_short(entries[i])}"),
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self.records)

    def rename_keys(self, known: Sequence[str]) -> None:
        """Rename keys in other letters, such as isCrowd, unless the known one is there."""
        keys = set[str]().union(*self.records)
        others = {key: name for name in known for key in keys_like(name, keys)}
        renamed = set()
        for row, record in enumerate(self.records if others else ()):
            for key in others:  # a set would have another order in each process
                if key in record and others[key] not in record:
                    record[others[key]] = record[key]
                    renamed.add(row)
        self.log.add(
            "keys in other letters", "repairs", f"they are read as {', '.join(others.values())}",
            sorted(renamed), self.has(*others),
        )  # fmt: skip

    def column(self, key: str) -> list[Any]:
        """Return the values of a key, None where it is missing."""
        return [record.get(key) for record in self.records]

    def label(self, row: int) -> str:
        """Name a record: by its id and its image, or by its position in the list."""
        identity = as_id(self.records[row].get("id"))
        name = f"number {self.numbers[row] + 1}" if identity is None else str(identity)
        place = self.place(row)
        return f"{self.kind} {name} in {place}" if place else f"{self.kind} {name}"

    def has(self, *keys: str) -> Callable[[int], ProblemExample]:
        """Return a function that words the values of keys in a row."""

        def example(row: int) -> ProblemExample:
            record = self.records[row]
            values = " and ".join(
                f"{key} {_short(record[key])}" if key in record else f"no {key}" for key in keys
            )
            return ProblemExample(f"{self.label(row)} has {values}", self.place(row))

        return example

    def ids(self) -> list[UserId | None]:
        """Return the ids of the records; None where there is none that can be used."""
        values = self.column("id")
        if set(map(type, values)) <= {int, str} and "" not in values:
            return values
        ids = [as_id(value) for value in values]
        decimals = [r for r, v in enumerate(values) if type(v) is float and ids[r] is not None]
        self.log.add(
            f"{self.kind} ids with decimals", "repairs", "they are read as integers", decimals,
            self.has("id"),
        )  # fmt: skip
        return ids

    def numbers_of(self, key: str) -> FloatArray:  # [records]
        """Return the values of a key; NaN where they are not numbers."""
        values = self.column(key)
        if set(map(type, values)) <= {int, float}:
            with suppress(OverflowError):  # an integer above 2^1024
                return np.fromiter(values, np.float64, len(values))
        numbers = np.array([as_number(value) for value in values], dtype=np.float64)
        self._count_texts(key, [r for r, v in enumerate(values) if type(v) is str], numbers)
        return numbers

    def rows_of(self, key: str, width: int) -> FloatArray:  # [records, width]
        """Return the lists of numbers of a key; NaN where a list is no such list."""
        rows, texts = read_rows_of_numbers(self.column(key), width)
        self._count_texts(key, texts, rows.sum(axis=1))
        return rows

    def positions(self, key: str, index: "IdIndex", owners: str) -> IntArray:
        """Turn the ids in a column into positions [records]; negative where there is none."""
        values = self.column(key)
        found: list[int | None] = [None] * len(values)
        if set(map(type, values)) <= {int, str}:
            found = list(map(index.exact.get, values))
        searched = [row for row, position in enumerate(found) if position is None]
        rows = [index.find(values[i]) if p is None else p for i, p in enumerate(found)]
        self.log.add(
            f"unknown {owners}", "refuses", f"add the {owners} or remove the {self.kind}s",
            [row for row in searched if rows[row] == UNKNOWN], self.has(key),
        )  # fmt: skip
        self.log.add(
            f"{owners} referred to by ids of another type", "repairs",
            "number and text of the same digits are one id",
            [row for row in searched if rows[row] >= 0 and not index.has(values[row])],
            self.has(key),
        )  # fmt: skip
        return np.array(rows, dtype=np.int64)

    def _count_texts(self, key: str, rows: Iterable[int], numbers: FloatArray) -> None:
        self.log.add(
            f"{key} written as text", "repairs", "the text is read as a number",
            [row for row in rows if np.isfinite(numbers[row])], self.has(key),
        )  # fmt: skip


class IdIndex:
    """Positions of ids; a number and its text ("7") are one id, unless both exist."""

    def __init__(self, kept: Sequence[UserId], listed: Iterable[UserId | None] = ()) -> None:
        self.exact: dict[Any, int] = dict.fromkeys(listed, LEFT_OUT)
        self.exact |= {value: i for i, value in enumerate(kept)}

    def has(self, value: Any) -> bool:
        """Whether an id of the same type exists."""
        return type(value) in (int, str) and value in self.exact

    def find(self, value: Any) -> int:
        """Return the position of an id, UNKNOWN or LEFT_OUT."""
        identity = as_id(value)
        if identity is None:
            return UNKNOWN
        position = self.exact.get(identity)
        if position is None:
            other = as_integer(identity) if isinstance(identity, str) else str(identity)
            position = UNKNOWN if other is None else self.exact.get(other, UNKNOWN)
        return position


def as_id(value: Any) -> UserId | None:
    """Return a value as an id: an integer, also written 7.0, or a text; None: neither."""
    if type(value) is int or (type(value) is str and value):
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def as_integer(text: str) -> int | None:
    """Return the integer that a text is the usual form of, or None.

    In one file, "7" is the id 7, but "007" is another one. See `lenient_integer`.
    """
    number = lenient_integer(text)
    return number if str(number) == text.strip() else None


def lenient_integer(text: str) -> int | None:
    """Return the integer that a text is, also one such as 007, or None.

    Programs that write results turn names of files and ids such as "007" into numbers.
    """
    digits = text.strip().removeprefix("-")
    is_integer = digits.isascii() and digits.isdigit() and len(digits) <= 1000
    return int(text) if is_integer else None  # int() refuses thousands of digits


def as_number(value: Any) -> float:
    """Return a number, also one written as text; NaN if a value is none."""
    if type(value) not in (int, float, str) or "_" in str(value)[:100]:
        return float("nan")
    try:
        return float(value)
    except (ValueError, OverflowError):
        return float("nan")


def finite_number(text: str) -> float | None:
    """Return the finite number that a text is, or None."""
    number = as_number(text)
    return number if math.isfinite(number) else None


def id_order(ids: Sequence[UserId]) -> list[int]:
    """Return the positions of ids in order: numbers, also as texts, then other texts."""

    def key(i: int) -> tuple[int, int, str]:
        value = ids[i]
        number = as_integer(value) if isinstance(value, str) else value
        return (0, number, str(type(value))) if number is not None else (1, 0, str(value))

    if all(type(value) is int for value in ids):
        return sorted(range(len(ids)), key=ids.__getitem__)
    return sorted(range(len(ids)), key=key)


def read_rows_of_numbers(values: Sequence[Any], width: int) -> tuple[FloatArray, list[int]]:
    """Return lists of numbers [rows, width], and the rows with numbers stored as text.

    A row is NaN where a value is no number, or the list has another length.
    """
    if _are_rows(values, width):
        with suppress(OverflowError):  # an integer above 2^1024
            flat = np.fromiter(chain.from_iterable(values), np.float64, width * len(values))
            return flat.reshape(len(values), width), []
    rows = np.full((len(values), width), np.nan)
    texts = []
    for i, value in enumerate(values):
        if isinstance(value, list | tuple) and len(value) == width:
            rows[i] = [as_number(x) for x in value]
            if any(type(x) is str for x in value):
                texts.append(i)
    return rows, texts


def _are_rows(values: Sequence[Any], width: int) -> bool:
    """Whether values are lists of `width` numbers."""
    if not set(map(type, values)) <= {list, tuple} or not set(map(len, values)) <= {width}:
        return False
    return set(map(type, chain.from_iterable(values))) <= {int, float}


def keys_like(name: str, keys: Iterable[str]) -> list[str]:
    """Return the keys that are a name in other letters, such as fileName."""
    plain = _plain_key(name)
    return sorted(key for key in keys if key != name and _plain_key(key) == plain)


def _plain_key(key: str) -> str:
    return key.replace("_", "").replace("-", "").lower()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
