"""Find images and boxes that a file lists several times."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from centernet2.data.findings import FindingLog, ProblemExample
from centernet2.data.readers.annotation_records import BoxColumns
from centernet2.data.readers.image_records import ImageColumns
from centernet2.structures import IntArray

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, with bits in no order (golden ratio)
SEVERAL_IDS = "images listed twice with different objects"  # kind of problem


def find_repetitions(images: ImageColumns, boxes: BoxColumns, log: FindingLog) -> None:
    """Find files that are listed under several ids, and equal boxes of an image.

    Files that are joined of several often list an image once for each class: in each listing, the
    objects of the others would be background.
    """

    def image(i: int) -> ProblemExample:
        return ProblemExample(f"image {images.ids[i]}: {images.files[i]}", images.files[i])

    first = first_listings(images, boxes)
    repeated = [i for i, _ in _repeated_files(images.files)]
    log.add(
        "images listed twice", "keeps", "training uses them twice as often",
        [i for i in repeated if first[i] == i], image,
    )  # fmt: skip
    log.add(
        SEVERAL_IDS, "refuses",
        "objects of the one would be background in the other: give them one image id, as "
        "`centernet2 check DATA --fix OUT.json` does",
        [i for i in repeated if first[i] != i], image,
    )  # fmt: skip
    log.add(
        "duplicate boxes", "keeps", "each counts as an object of its own",
        repeated_boxes(boxes, boxes.image),
        lambda row: boxes.table.has("bbox")(int(boxes.rows[row])),
    )  # fmt: skip


def first_listings(images: ImageColumns, boxes: BoxColumns) -> IntArray:  # [I]
    """Return for each image the first of its file, or itself if all listings agree."""
    first = np.arange(len(images.files))
    pairs = _repeated_files(images.files)
    different = {j for i, j in pairs if _objects_of(boxes, i) != _objects_of(boxes, j)}
    for i, j in pairs:
        if j in different:
            first[i] = j
    return first


def _repeated_files(files: Sequence[str]) -> list[tuple[int, int]]:
    """Return the images whose file an earlier one has, and the first one."""
    if len(set(files)) == len(files):
        return []
    first: dict[str, int] = {}
    pairs = ((i, first.setdefault(file, i)) for i, file in enumerate(files))
    return [(i, earlier) for i, earlier in pairs if i != earlier]


def _objects_of(boxes: BoxColumns, image: int) -> list[list[float]]:
    """Return the labels and boxes of an image in an order of their own."""
    start, end = np.searchsorted(boxes.image, [image, image + 1])
    columns = np.column_stack([boxes.labels[start:end], boxes.xywh[start:end]])
    return sorted(columns.tolist())


def repeated_boxes(boxes: BoxColumns, image: IntArray) -> list[int]:
    """Rows of boxes that equal an earlier one of the same class and `image` [B]."""
    return repeated_rows([image, boxes.labels, *boxes.xywh.T])


def repeated_rows(columns: Sequence[NDArray[Any]]) -> list[int]:
    """Rows that equal an earlier one in all columns, which have numbers of 64 bits.

    One number stands for each row, so that sorting needs little memory for millions of boxes.
    """
    numbers = _mixed(columns)
    order = numbers.argsort(kind="stable")  # equal boxes keep their order
    candidates = np.flatnonzero(numbers[order[1:]] == numbers[order[:-1]])
    rows, earlier = order[candidates + 1], order[candidates]
    same = np.all([column[rows] == column[earlier] for column in columns], axis=0)
    repeated: list[int] = np.sort(rows[same]).tolist()
    return repeated


def _mixed(columns: Sequence[NDArray[Any]]) -> NDArray[np.uint64]:
    """Mix the numbers of 64 bits in each row to one, which is equal for equal rows."""
    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        bits = np.ascontiguousarray(column + 0).view(np.uint64)  # -0.0 becomes 0.0
        mixed = (mixed ^ bits) * MULTIPLIER
        mixed ^= mixed >> np.uint64(32)
    return mixed
