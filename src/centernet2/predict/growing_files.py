"""Files that grow with each prediction: a list of records, COCO's format, a table.

Each appears whole when it is closed, also after an interruption; without a prediction before that,
an earlier file stays. None of them is held in memory.
"""

from __future__ import annotations

import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from centernet2.files import open_atomic
from centernet2.outputs import json_mark
from centernet2.predict.conversions import (
    coco_annotations,
    coco_categories,
    csv_lines,
    image_name,
    records,
    row_names,
    rows,
)
from centernet2.predict.counting import Event, Line, Zone
from centernet2.predict.prediction import Prediction

HEAD = json.dumps(json_mark("predict")).removesuffix("}")
COPIED_BYTES = 1 << 20  # at a time


class GrowingFile(ABC):
    """A file that receives predictions; subclasses say how."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._stack = ExitStack()
        self._file: BinaryIO | None = None

    def write(self, prediction: Prediction, picture: str | None) -> None:
        """Add a prediction.

        Args:
            picture: name of the drawn picture of the image, if there is one.
        """
        first = self.count == 0
        self.count += 1
        self._write(self._text(prediction, picture, first=first))

    def close(self, *, whole: bool) -> None:
        """Finish the file.

        Args:
            whole: False after an error or an interruption.
        """
        if whole or self.count:
            with self._stack:  # an error discards the file
                self._write(self._end())

    def _write(self, text: str) -> None:
        if self._file is None:
            self._file = self._stack.enter_context(open_atomic(self.path))
        self._file.write(text.encode("utf-8"))

    @abstractmethod
    def _text(self, prediction: Prediction, picture: str | None, *, first: bool) -> str:
        """Return what a prediction adds; `first`: nothing is written before it."""

    def _end(self) -> str:
        """Return what finishes the file; a table needs nothing."""
        return ""


class RecordsFile(GrowingFile):
    """A JSON list with one line per image: a record that holds its detections."""

    def _text(self, prediction: Prediction, picture: str | None, *, first: bool) -> str:
        record = {
            "file": image_name(prediction),
            **({} if picture is None else {"picture": picture}),
            **_frame_of(prediction),
            "width": prediction.size[1],
            "height": prediction.size[0],
            "detections": records(prediction),
        }
        return ("[\n" if first else ",\n") + json.dumps(record, ensure_ascii=False)

    def _end(self) -> str:
        return "\n]\n" if self.count else "[\n\n]\n"


class CocoFile(GrowingFile):
    """Images, annotations with scores and categories in COCO's format.

    Annotations come after all images, so they wait in a temporary file.
    """

    def __init__(self, path: Path, class_names: Sequence[str]) -> None:
        super().__init__(path)
        self._names = list(class_names)
        self._annotations: Any = None
        self._num_annotations = 0

    def _text(self, prediction: Prediction, picture: str | None, *, first: bool) -> str:
        if self._annotations is None:
            folder = self.path.parent  # a container may have no other that can be written
            folder.mkdir(parents=True, exist_ok=True)
            waiting = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
            self._annotations = self._stack.enter_context(waiting)
        for each in coco_annotations(prediction, self.count):
            self._num_annotations += 1
            comma = ",\n" if self._num_annotations > 1 else ""
            line = json.dumps({"id": self._num_annotations, **each})
            self._annotations.write(f"{comma}{line}".encode())
        if not prediction.class_names:
            highest = int(prediction.labels.max(initial=-1))
            self._names += [str(label) for label in range(len(self._names), highest + 1)]
        image = {
            "id": self.count,
            "file_name": image_name(prediction),
            **_frame_of(prediction),
            "width": prediction.size[1],
            "height": prediction.size[0],
        }
        start = f'{HEAD}, "images": [\n' if first else ",\n"
        return start + json.dumps(image, ensure_ascii=False)

    def _end(self) -> str:
        self._write(
            '\n], "annotations": [\n' if self.count else f'{HEAD}, "images": [], "annotations": ['
        )
        if self._annotations is not None:
            self._annotations.seek(0)
            while part := self._annotations.read(COPIED_BYTES):
                self._write(part.decode("utf-8"))
        names = json.dumps(coco_categories(self._names), ensure_ascii=False)
        return f'\n], "categories": {names}}}\n'


class TableFile(GrowingFile):
    """A CSV file with a row for each detection."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._names: list[str] = []

    def _text(self, prediction: Prediction, picture: str | None, *, first: bool) -> str:
        if first:
            self._names = row_names(prediction.columns, film=True)
        return csv_lines(rows(prediction), self._names, head=first)


class EventsFile(GrowingFile):
    """A CSV file with a row for each crossing of a line and entry to a zone."""

    def __init__(self, path: Path, counters: Sequence[Line | Zone]) -> None:
        super().__init__(path)
        self.events: list[Event] = []
        self._counters = counters

    def _text(self, prediction: Prediction, picture: str | None, *, first: bool) -> str:
        new = [event for counter in self._counters for event in counter.update(prediction)]
        self.events += new
        return csv_lines([each._asdict() for each in new], Event._fields, head=first)


def _frame_of(prediction: Prediction) -> dict[str, Any]:
    if prediction.frame is None or prediction.time is None:
        return {}
    return {"frame": prediction.frame, "time": round(prediction.time, 6)}
