"""Pairs of rows as NumPy arrays, of which the better row removes the worse one."""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]
Pairs = tuple[Rows, Rows]  # [P] each


def expand_ranges(starts: Rows, counts: Rows) -> Pairs:
    """List the numbers of ranges [W] one after the other: (range, number) [P] each."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) + np.repeat(starts - counts.cumsum() + counts, counts)


def keep_best(count: int, better: Rows, worse: Rows) -> NDArray[np.bool_]:
    """Mark kept boxes; in each pair the better box, if kept, removes the worse one."""
    kept = np.ones(count, dtype=bool)
    while len(better):
        undecided = mark(count, worse)[better]
        removed = mark(count, worse[~undecided])
        kept &= ~removed
        rest = np.flatnonzero(undecided & ~(removed[better] | removed[worse]))
        better, worse = better[rest], worse[rest]
    return kept


def mark(count: int, rows: Rows) -> NDArray[np.bool_]:
    """Convert row numbers to a mask [count]."""
    marks = np.zeros(count, dtype=bool)
    marks[rows] = True
    return marks
