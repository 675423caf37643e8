"""The records of a COCO JSON file as columns; errors name file and record."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Record = dict[str, Any]  # a JSON object: the whole content, or one entry of its lists


class RecordTable:
    """One list of the JSON file, read column by column."""

    def __init__(self, kind: str, content: Record, key: str, path: Path) -> None:
        if not isinstance(content.get(key), list):
            raise ValueError(
                f"{path}: the list {key!r} is missing; "
                "a COCO file has images, annotations and categories"
            )
        self.kind, self.path, self.records = kind, path, content[key]
        if not self.records and key != "annotations":
            raise ValueError(
                f"{path}: the list {key!r} is empty; there is nothing to train on or to evaluate"
            )
        if not all(isinstance(record, dict) for record in self.records):
            raise ValueError(
                f"{path}: the list {key!r} must hold JSON objects only; export the file again"
            )

    def error(self, row: int, problem: str) -> ValueError:
        """Make an error that names one record."""
        name = self.records[row].get("id", f"number {row + 1} (without id)")
        return ValueError(f"{self.path}: {self.kind} {name} {problem}")

    def column(self, key: str) -> list[Any]:
        """Return the values of a required key."""
        try:
            return [record[key] for record in self.records]
        except KeyError:
            row = next(i for i, record in enumerate(self.records) if key not in record)
            raise self.error(row, f"has no {key!r}; add it") from None

    def ids(self) -> npt.NDArray[np.int64]:  # [records]
        """Return the ids of the records, which must be unique integers."""
        ids = self.column("id")
        seen = set()
        for row, value in enumerate(ids):
            if not isinstance(value, int):
                raise self.error(row, "has an id that is not an integer; number the records")
            if value in seen:
                raise self.error(
                    row, f"has the id of another one; give each {self.kind} an id of its own"
                )
            seen.add(value)
        return np.array(ids, dtype=np.int64)

    def names(self) -> list[str]:
        """Return the names of the records, which must be unique."""
        names = [str(name) for name in self.column("name")]
        for row, name in enumerate(names):
            if name in names[:row]:
                raise self.error(row, f"has the name of another one, '{name}'; merge them")
        return names

    def positive_numbers(self, keys: Sequence[str]) -> npt.NDArray[np.float64]:  # [records, keys]
        """Return the values of several keys, which must be positive numbers."""
        values = as_rows(
            zip(*(self.column(key) for key in keys), strict=True), len(self.records), len(keys)
        )
        wrong = ~(values > 0).all(axis=1)
        if wrong.any():
            raise self.error(
                int(np.argmax(wrong)),
                f"needs positive numbers for {' and '.join(keys)}; correct them",
            )
        return values

    def positions(
        self, key: str, ids: npt.NDArray[np.int64], problem: str
    ) -> npt.NDArray[np.int64]:  # [records]
        """Turn the ids in a column into positions in the list `ids`."""
        position = {value: i for i, value in enumerate(ids.tolist())}
        references = self.column(key)
        try:
            rows = [position.get(value, -1) for value in references]
        except TypeError:  # a list or an object in place of an id
            rows = [
                position.get(value, -1) if isinstance(value, int) else -1 for value in references
            ]
        if -1 in rows:
            row = rows.index(-1)
            raise self.error(
                row,
                f"refers to {key} {references[row]!r}, which {problem}; "
                f"add it or remove the {self.kind}",
            )
        return np.array(rows, dtype=np.int64)


def as_rows(values: Iterable[Any], count: int, width: int) -> npt.NDArray[np.float64]:
    """Convert rows of numbers to an array [count, width]; invalid rows become NaN."""
    rows = list(values)
    try:
        return np.array(rows, dtype=np.float64).reshape(count, width)
    except (TypeError, ValueError):
        array = np.full((count, width), np.nan)
        for i, row in enumerate(rows):
            if (
                isinstance(row, list | tuple)
                and len(row) == width
                and all(isinstance(x, int | float) for x in row)
            ):
                array[i] = row
        return array
