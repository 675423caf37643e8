"""Predictions as Parquet files, a row per image, to which a later run can add.

A part appears whole or not at all, so a stopped run has lost no more than its last part.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from centernet2.files import open_atomic, remove_temporary, write_atomic
from centernet2.images.storage import shown_name
from centernet2.outputs import json_mark
from centernet2.predict.conversions import csv_lines, image_name, run_lengths
from centernet2.predict.prediction import Prediction

PATTERN, SKIPPED_FILE = "part-*.parquet", "skipped.csv"
METADATA_KEY = b"centernet2"  # of a JSON object in the metadata of a part
PART_IMAGES, PART_SECONDS = 10_000, 30.0  # after which a part is written


def import_arrow() -> Any:
    """Import PyArrow with its Parquet files; a ValueError names the extra."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError("Parquet files need PyArrow; pip install 'centernet2[ray]'") from error
    return pyarrow


def part_schema() -> Any:
    """Return the Arrow schema of a part; docs/scale.md states its meaning."""
    arrow = import_arrow()
    numbers = arrow.list_(arrow.float32())  # [D]
    columns = {
        "image": arrow.string(),
        "height": arrow.int32(),
        "width": arrow.int32(),
        "boxes": arrow.list_(arrow.list_(arrow.float32(), 4)),  # [D, 4]
        "scores": numbers,
        "labels": arrow.list_(arrow.int32()),
        "names": arrow.list_(arrow.string()),
        "objectness": numbers,
        "class_probability": numbers,
        "masks": arrow.list_(arrow.string()),
    }
    return arrow.schema(columns)


def part_row(prediction: Prediction) -> dict[str, Any]:
    """Return the row of an image; what its detector does not give is left out."""
    height, width = prediction.size
    scores: dict[str, Any] = {
        name: prediction.columns[name].tolist()
        for name in ("objectness", "class_probability")
        if name in prediction.columns
    }
    masks: dict[str, Any] = {}
    if prediction.has_masks:
        masks["masks"] = [run_lengths(mask)["counts"] for mask in prediction.each_mask()]
    return {
        "image": image_name(prediction),
        "height": height,
        "width": width,
        "boxes": prediction.boxes.tolist(),
        "scores": prediction.scores.tolist(),
        "labels": prediction.labels.tolist(),
        "names": prediction.names,
        **scores,
        **masks,
    }


class ParquetParts:
    """The Parquet files of a folder, which grow by one after another.

    Args:
        folder: holds them.
        settings: what determines the detections; parts of other settings are refused.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.settings = json.loads(json.dumps(settings))  # as a part holds them
        self._tables: list[Any] = []  # of the next part
        self._begun = 0.0  # when the first of them came
        self._arrow = import_arrow()

    def __enter__(self) -> ParquetParts:
        remove_temporary(self.folder, f"{PATTERN}.*")
        return self

    def __exit__(self, *error: object) -> None:
        self._write_part()  # after an error and an interruption, too

    def images(self) -> set[str]:
        """Return the images that have a row.

        Raises:
            ValueError: a file cannot be read, or was not made with these settings.
        """
        found: set[str] = set()
        for path in sorted(self.folder.glob(PATTERN)):
            try:
                table = self._arrow.parquet.read_table(path, columns=["image"])
            except (OSError, self._arrow.ArrowException) as error:
                raise ValueError(
                    f"{path} cannot be read as a part of an earlier run ({error}); remove it, "
                    "and its images are predicted again"
                ) from error
            self._require_settings(path, table.schema.metadata or {})
            found.update(table["image"].to_pylist())
        return found

    def _require_settings(self, path: Path, metadata: Mapping[bytes, bytes]) -> None:
        if METADATA_KEY not in metadata:
            raise ValueError(
                f"{path} was not made by `centernet2 predict`; choose another --output, or move "
                "the file away"
            )
        earlier = json.loads(metadata[METADATA_KEY])
        other = [name for name, value in self.settings.items() if earlier.get(name) != value]
        if other:
            raise ValueError(
                f"{path} was made with other values of {', '.join(other)}; choose another "
                "--output, or remove the parts of that run"
            )

    def add(self, rows: Any) -> None:
        """Add a table of the schema; write a part when there is enough for it."""
        if not self._tables:
            self._begun = time.monotonic()
        self._tables.append(rows)
        is_large = sum(map(len, self._tables)) >= PART_IMAGES
        if is_large or time.monotonic() - self._begun >= PART_SECONDS:
            self._write_part()

    def _write_part(self) -> None:
        if not any(map(len, self._tables)):
            return
        rows = self._arrow.concat_tables(self._tables)
        metadata = {METADATA_KEY: json.dumps(json_mark("predict") | self.settings)}
        with open_atomic(self._next_path(), durable=True) as file:
            self._arrow.parquet.write_table(rows.replace_schema_metadata(metadata), file)
        self._tables = []

    def _next_path(self) -> Path:
        first = len([*self.folder.glob(PATTERN)])
        paths = (self.folder / f"part-{number:05d}.parquet" for number in count(first))
        return next(path for path in paths if not path.exists())


def write_skipped(folder: Path, failed: Iterable[tuple[Path, Exception]]) -> None:
    """Write which images could not be read, and why; if none, remove an earlier file."""
    rows = [{"image": shown_name(path), "error": str(error)} for path, error in failed]
    path = folder / SKIPPED_FILE
    if rows:
        write_atomic(path, csv_lines(rows, ["image", "error"], head=True))
    else:
        path.unlink(missing_ok=True)
