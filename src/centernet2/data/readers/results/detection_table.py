"""The detections of a results file as columns; errors name file and detection."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from centernet2.data.findings import Action, FindingLog, ProblemExample
from centernet2.data.readers.annotation_records import ROTATION_KEYS, is_rotation
from centernet2.data.readers.json_records import Record, read_rows_of_numbers
from centernet2.structures import BoolArray, FloatArray

NEEDED_KEYS = "each needs image_id, category_id, bbox, score"
FARTHEST = 1e9  # pixels: such a box is of a diverged detector or damaged
MAX_SCORE = 1.001  # rounding of half precision


class DetectionTable:
    """A record per detection; detections are counted from 0 in messages."""

    def __init__(self, path: Path, records: Sequence[Record]) -> None:
        self.path, self.records = path, records
        self.keys: set[str] = set().union(*records)
        self.log = FindingLog("")

    def __len__(self) -> int:
        return len(self.records)

    def error(self, row: int, problem: str) -> ValueError:
        """Make an error that names one detection."""
        return ValueError(f"{self.path}: detection {row} {problem}")

    def note(self, kind: str, action: Action, rows: Sequence[int], advice: str) -> None:
        """Count detections that are repaired, or kept in spite of a problem."""
        self.log.add(kind, action, advice, rows, lambda row: ProblemExample(f"detection {row}"))

    def column(self, key: str) -> list[Any]:
        """Return the values of a key; None where a detection lacks it."""
        return [record.get(key) for record in self.records]

    def scores(self) -> FloatArray:  # [D]
        """Return the scores, which must be numbers from 0 to 1."""
        values, as_text = read_rows_of_numbers([[value] for value in self.column("score")], 1)
        wrong = ~np.isfinite(values[:, 0])
        if (row := first_of(wrong)) is not None:
            value = self.records[row].get("score")
            raise self.error(row, _lack("score", value, "a finite number"))
        outside = (values[:, 0] < 0) | (values[:, 0] > MAX_SCORE)
        if (row := first_of(outside)) is not None:
            advice = "divide percent by 100, and turn logits into probabilities"
            raise self.error(
                row, f"has the score {values[row, 0]:g}, which is not in 0..1; {advice}"
            )
        self.note("score as text", "repairs", as_text, "a score in quotes is read as a number")
        return values[:, 0]

    def boxes(self, optional: BoolArray) -> FloatArray:  # [D, 4]
        """Return the boxes [x, y, width, height].

        Args:
            optional: [D] detections that may lack a box; it is NaN where they do.
        """
        modes = [row for row, mode in enumerate(self.column("bbox_mode")) if mode not in (None, 1)]
        if modes:
            raise self.error(
                modes[0], "has a bbox_mode that is not 1 (XYWH_ABS); write [x, y, width, height] "
                "in pixels, and remove bbox_mode",
            )  # fmt: skip
        self._refuse_rotations()
        column = self.column("bbox")
        values, as_text = read_rows_of_numbers(column, 4)
        absent = np.fromiter((box is None or box == [] for box in column), bool, len(column))
        wrong = ~np.isfinite(values).all(axis=1) & ~(absent & optional)
        if (row := first_of(wrong)) is not None:
            raise self.error(row, _lack("bbox", column[row], "four finite numbers"))
        negative = np.any(values[:, 2:] < 0, axis=1)
        if (row := first_of(negative)) is not None:
            raise self.error(
                row, f"has a bbox of negative size, {column[row]}; bbox is [x, y, width, height]"
            )
        far = np.any(np.abs(values) > FARTHEST, axis=1)
        if (row := first_of(far)) is not None:
            raise self.error(row, f"has the bbox {column[row]}, which is beyond any image")
        self.note("box as text", "repairs", as_text, "a bbox in quotes is read as numbers")
        return values

    def _refuse_rotations(self) -> None:
        for key in self.keys & set(ROTATION_KEYS):
            for row, value in enumerate(self.column(key)):
                if is_rotation(value) and not self.records[row].get("segmentation"):
                    raise self.error(
                        row,
                        f"has the {key} {value!r}, which is not read; write the box around the "
                        f"rotated one, and remove {key}",
                    )


def first_of(flags: BoolArray) -> int | None:
    """Return the first row that is flagged; None if there is none."""
    return int(np.argmax(flags)) if flags.any() else None


def _lack(key: str, value: Any, wanted: str) -> str:
    if value is None:
        return f"has no {key!r}; {NEEDED_KEYS}"
    text = repr(value)[:60]
    if any(word in text.lower() for word in ("nan", "inf")):
        return f"has a NaN or infinity in its {key!r}, {text}; correct or remove it"
    return f"has the {key!r} {text}, which is not {wanted}; correct or remove it"
