"""How far the detections of two programs agree."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Tolerance(NamedTuple):
    """How far detections that agree may differ."""

    offset: float  # between the sides of their boxes, in pixels
    score: float


ROUNDING = Tolerance(offset=0.1, score=1e-3)  # by the order of float32 operations


class Agreement(NamedTuple):
    """Detections of two programs that agree in box, score and label."""

    expected: int  # number of detections, or of the other program's if they are more
    matched: int
    offset: float  # the largest of a matched box, in pixels
    score_difference: float  # the largest of a matched detection

    @property
    def share(self) -> float:
        """Share of detections that agree; 1 if there are none."""
        return self.matched / self.expected if self.expected else 1.0


def compare_detections(
    actual: Mapping[str, NDArray[Any]],
    expected: Mapping[str, NDArray[Any]],
    tolerance: Tolerance = ROUNDING,
) -> Agreement:
    """Match an image's detections [D, ...] by box, score and label, each at most once."""
    offsets = np.abs(actual["boxes"][:, None] - expected["boxes"]).max(axis=2)  # [A, E]
    differences = np.abs(actual["scores"][:, None] - expected["scores"])
    near = (offsets <= tolerance.offset) & (differences <= tolerance.score)
    near &= actual["labels"][:, None] == expected["labels"]
    pairs = list(_pair(near, offsets))
    rows, columns = (list(each) for each in zip(*pairs, strict=True)) if pairs else ([], [])
    return Agreement(
        max(near.shape),
        len(pairs),
        float(offsets[rows, columns].max(initial=0)),
        float(differences[rows, columns].max(initial=0)),
    )


def join_agreements(agreements: Iterable[Agreement]) -> Agreement:
    """Sum up the agreements of several images."""
    expected, matched, offsets, differences = zip(*agreements, strict=True)
    return Agreement(sum(expected), sum(matched), max(offsets), max(differences))


def _pair(near: NDArray[np.bool_], offsets: NDArray[Any]) -> Iterable[tuple[int, int]]:
    """Yield near pairs (row, column), the nearest first, each row and column once."""
    rows, columns = near.nonzero()
    used_rows: set[int] = set()
    used_columns: set[int] = set()
    for k in np.argsort(offsets[rows, columns], kind="stable"):
        row, column = int(rows[k]), int(columns[k])
        if row not in used_rows and column not in used_columns:
            used_rows.add(row)
            used_columns.add(column)
            yield row, column
