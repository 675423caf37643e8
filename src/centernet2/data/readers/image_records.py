"""The images and categories of a COCO JSON file; unusable ones become findings."""

import os
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from centernet2.data.class_names import clean_name
from centernet2.data.federated import FederatedLabels, pack_federated
from centernet2.data.findings import FindingLog, ProblemExample
from centernet2.data.readers.json_records import IdIndex, Record, RecordTable, id_order
from centernet2.files import stored_name
from centernet2.images.image_files import ImageError, image_size
from centernet2.structures import IntArray, UserId

DUPLICATE_NAMES = "duplicate category names"  # kind of problem
KNOWN_KEYS = ("id", "file_name", "width", "height", "coco_url")
MAX_PIXELS = 2**31 - 1  # of an image; no decoder reads more


class ImageColumns(NamedTuple):
    """The usable images, in the order of their ids."""

    records: list[Record]
    ids: list[UserId]
    files: list[str]
    sizes: npt.NDArray[np.int32]  # [I, 2] height, width
    positions: IdIndex


class ClassColumns(NamedTuple):
    """The usable categories, in the order of their ids."""

    records: list[Record]
    ids: list[UserId]
    names: list[str]
    labels: IdIndex


def read_images(content: Record, folder: Path, log: FindingLog) -> ImageColumns:
    """Read the list of images; the folder is that of their files."""
    table = RecordTable("image", content, "images", log)
    table.rename_keys(KNOWN_KEYS)
    if not len(table):
        log.add(
            "no images", "refuses", "there is nothing to train on or to evaluate", [0],
            lambda _: ProblemExample("the list 'images' is missing or empty"),
        )  # fmt: skip
    ids = table.ids()
    files = [_file_name(record, folder) for record in table.records]
    _refuse(table, "images without a usable id", "give each an id of its own", ids, "id")
    _refuse(
        table,
        "images without a usable file name",
        "add 'file_name'",
        files,
        "file_name",
        "coco_url",
    )
    rows = [row for row, each in enumerate(ids) if each is not None and files[row] is not None]
    rows = _first_of_each(table, rows, ids, lambda row: files[row], "images")
    sizes = _sizes(table, folder, files)
    rows = [row for row in rows if sizes[row, 0]]
    kept = [rows[i] for i in id_order([_id(ids[row]) for row in rows])]
    kept_ids = [_id(ids[row]) for row in kept]
    return ImageColumns(
        [table.records[row] for row in kept],
        kept_ids,
        [str(files[row]) for row in kept],
        sizes[kept].astype(np.int32).reshape(-1, 2),
        IdIndex(kept_ids, ids),
    )


def read_classes(content: Record, log: FindingLog) -> ClassColumns:
    """Read the list of categories."""
    table = RecordTable("category", content, "categories", log)
    if not len(table):
        log.add(
            "no categories", "refuses", "add the list 'categories' with ids and names", [0],
            lambda _: ProblemExample("the list 'categories' is missing or empty"),
        )  # fmt: skip
    ids, names = table.ids(), _names(table)
    _refuse(table, "categories without a usable id", "give each an id of its own", ids, "id")
    _refuse(table, "categories without a usable name", "add a name", names, "name")
    rows = [row for row, each in enumerate(ids) if each is not None and names[row] is not None]
    rows = _first_of_each(table, rows, ids, lambda row: names[row], "categories")
    distinct = _first_of_each_name(table, rows, ids, names)
    kept = [distinct[i] for i in id_order([_id(ids[row]) for row in distinct])]
    kept_ids, kept_names = [_id(ids[row]) for row in kept], [str(names[row]) for row in kept]
    index = IdIndex(kept_ids, ids)
    label_of = {name: label for label, name in enumerate(kept_names)}
    index.exact |= {ids[row]: label_of[str(names[row])] for row in rows}
    return ClassColumns([table.records[row] for row in kept], kept_ids, kept_names, index)


def frequencies(classes: ClassColumns) -> tuple[str, ...]:
    """Frequency of each class in LVIS (r, c or f); empty where no class states it."""
    letters = tuple(str(each.get("frequency") or "") for each in classes.records)
    return letters if any(letters) else ()


def federated(images: ImageColumns, classes: ClassColumns) -> FederatedLabels | None:
    """LVIS: the annotated classes of each image; None if the images do not name them."""
    if not any("neg_category_ids" in image for image in images.records):
        return None

    def labels(key: str) -> list[list[int]]:
        found = []
        for image in images.records:
            value = image.get(key)
            numbers = value if isinstance(value, list) else []
            found.append([i for n in numbers if (i := classes.labels.find(n)) >= 0])
        return found

    return pack_federated(labels("neg_category_ids"), labels("not_exhaustive_category_ids"))


def _id(value: UserId | None) -> UserId:
    assert value is not None  # the rows without an id are left out
    return value


def _refuse(
    table: RecordTable, kind: str, advice: str, values: Sequence[object], *keys: str
) -> None:
    missing = [row for row, value in enumerate(values) if value is None]
    table.log.add(kind, "refuses", advice, missing, table.has(*keys))


def _first_of_each(
    table: RecordTable,
    rows: list[int],
    ids: Sequence[UserId | None],
    content: Callable[[int], Hashable],
    what: str,
) -> list[int]:
    """Keep the first record of each id; the others must have the same content."""
    first = {ids[row]: row for row in reversed(rows)}
    if len(first) == len(rows):
        return rows
    others = [row for row in rows if first[ids[row]] != row]
    same = [row for row in others if content(row) == content(first[ids[row]])]
    different = sorted(set(others) - set(same))
    key = "file_name" if what == "images" else "name"
    table.log.add(
        f"{what} listed twice under one id", "repairs", "they are merged", same, table.has(key)
    )
    table.log.add(
        f"duplicate {table.kind} ids", "refuses", f"give each {table.kind} an id of its own",
        different,
        lambda row: ProblemExample(f"{table.label(row)} has the id of another one"),
    )  # fmt: skip
    return sorted(first.values())


def _first_of_each_name(
    table: RecordTable, rows: list[int], ids: Sequence[UserId | None], names: Sequence[str | None]
) -> list[int]:
    first = {names[row]: row for row in reversed(rows)}

    def example(row: int) -> ProblemExample:
        return ProblemExample(
            f"category {ids[row]} has the name of category {ids[first[names[row]]]}, {names[row]!r}"
        )

    others = [row for row in rows if first[names[row]] != row]
    table.log.add(DUPLICATE_NAMES, "refuses", "merge them", others, example)
    return sorted(first.values())


def _names(table: RecordTable) -> list[str | None]:
    values = table.column("name")
    names = [_name(value) for value in values]
    numbers = [r for r, v in enumerate(values) if not isinstance(v, str) and names[r] is not None]
    table.log.add(
        "category names that are numbers", "repairs", "they are read as text", numbers,
        table.has("name"),
    )  # fmt: skip
    spaces = [r for r, v in enumerate(values) if names[r] and isinstance(v, str) and v != v.strip()]
    table.log.add(
        "category names with spaces around them", "repairs", "the spaces are removed", spaces,
        table.has("name"),
    )  # fmt: skip
    return names


def _name(value: Any) -> str | None:
    text = clean_name(str(value)) if type(value) in (int, float, str) else ""
    return text if _is_text(text) else None


def _is_text(text: str) -> bool:
    """Whether a name can be written to a file; half of a surrogate pair cannot."""
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


def _file_name(record: Record, folder: Path) -> str | None:
    """Path below the image folder, as stored; in LVIS the end of the COCO URL."""
    name = record.get("file_name")
    if not name and isinstance(record.get("coco_url"), str):
        name = "/".join(record["coco_url"].split("/")[-2:])
    if not isinstance(name, str) or not name or "\0" in name:
        return None
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return None
    return stored_name(folder, name)


def _sizes(table: RecordTable, folder: Path, files: Sequence[str | None]) -> IntArray:
    """Heights and widths [records, 2]; 0 where neither record nor file has them."""
    numbers = np.stack([table.numbers_of(key) for key in ("height", "width")], axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        whole = (numbers >= 1) & (numbers == np.floor(numbers))
        good = whole.all(axis=1) & (numbers.prod(axis=1) <= MAX_PIXELS)
    sizes = np.where(good[:, None], numbers, 0).astype(np.int64)
    searched = np.flatnonzero(~good).tolist()
    for row in searched:
        path = folder / (files[row] or "")
        if os.path.isfile(path):  # also if its name is too long for a file
            with suppress(ImageError):  # a finding of its own
                sizes[row] = image_size(path)
    table.log.add(
        "images without a usable width and height", "repairs", "those of their files are used",
        [row for row in searched if sizes[row, 0]], table.has("height", "width"),
    )  # fmt: skip
    table.log.add(
        "images of unknown size", "refuses",
        "add positive integers as 'height' and 'width', or the image files",
        [row for row in searched if not sizes[row, 0]], table.has("height", "width"),
    )  # fmt: skip
    return sizes
