"""Reads COCO's JSON format, and says which record of a file is wrong."""

import gc
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from centernet2.data.annotation_masks import NOTHING, PackedMasks, pack, read_segmentation
from centernet2.data.dataset import DetectionDataset, offsets_of, pack_paths
from centernet2.data.index import cached
from centernet2.data.storage import folder_of, in_shards

logger = logging.getLogger(__name__)

Record = dict[str, Any]  # one entry of the JSON's lists
LARGE = 2**26  # bytes of a JSON file: reading it takes seconds
CORNERS_OUTSIDE = (
    0.25  # share of boxes that run out of their images where corners stand for widths and heights
)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Python does not look for garbage: there is none, and to look through millions of records again and again takes a
    third of the time that a large JSON needs."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def load_coco(
    annotations: Path, images: Path, *, name: str, masks: bool = False
) -> DetectionDataset:
    """Read a COCO JSON file, with its masks if asked for.

    Without a list of annotations, as test sets are published, every image is empty.
    """

    def read() -> DetectionDataset:
        return pack_content(read_json(annotations), annotations, images, name=name, masks=masks)

    dataset = cached([annotations], ["coco", name, masks], read)
    return replace(dataset, folder=Path(images), annotations=Path(annotations))


def load_coco_in_shards(
    annotations: Path, shards: Sequence[str], *, name: str, masks: bool = False
) -> DetectionDataset:
    """Read a COCO JSON file whose images lie in tar files."""

    folder = Path(folder_of(shards))

    def read() -> DetectionDataset:
        dataset = pack_content(read_json(annotations), annotations, folder, name=name, masks=masks)
        return replace(
            dataset,
            files=pack_paths(list(in_shards(list(map(os.fsdecode, dataset.files)), shards))),
        )

    dataset = cached([annotations, *shards], ["shards", name, masks], read)
    return replace(dataset, folder=folder, annotations=Path(annotations))


@_without_collection()
def pack_content(
    content: Record, annotations: Path, images: Path, *, name: str, masks: bool
) -> DetectionDataset:
    """The packed index of records in COCO's format; `annotations` is what errors name."""
    image_records = _Records("image", content, "images", annotations)
    category_records = _Records("category", content, "categories", annotations)
    box_records = _Records("annotation", {"annotations": [], **content}, "annotations", annotations)

    category_ids, category_order = np.unique(category_records.ids(), return_index=True)
    class_names = category_records.column("name")
    image_ids, image_order = np.unique(image_records.ids(), return_index=True)
    sizes = image_records.numbers(["height", "width"])[image_order]  # [I, 2]
    files = _file_names(image_records)
    found = _read_boxes(box_records, image_ids, category_ids)
    _refuse_corners(found, sizes, annotations)

    order = np.argsort(found.image, kind="stable")
    dataset = DetectionDataset(
        name=name,
        class_names=tuple(str(class_names[i]) for i in category_order),
        category_ids=tuple(category_ids.tolist()),
        folder=Path(images),
        annotations=None,
        files=pack_paths([files[i] for i in image_order]),
        image_ids=image_ids,
        heights=sizes[:, 0].astype(np.int32),
        widths=sizes[:, 1].astype(np.int32),
        offsets=offsets_of(np.bincount(found.image, minlength=len(image_ids))),
        boxes=found.boxes[order].astype(np.float32),
        labels=found.labels[order].astype(np.int32),
        areas=found.areas[order].astype(np.float32),
        crowd=found.crowd[order],
        masks=_read_masks(box_records, found, sizes).take(order) if masks else None,
    )
    _warn_of_boxes_outside(dataset, annotations)
    logger.info(
        "%s: %d images, %d boxes, %d classes",
        annotations,
        len(dataset),
        len(dataset.boxes),
        len(class_names),
    )
    return dataset


@_without_collection()
def read_json(path: Path) -> Record:
    """The content of a COCO JSON file."""
    try:
        text = Path(path).read_bytes()
        if len(text) >= LARGE:
            logger.info("reading %s (%d MB)", path, len(text) // 2**20)
        content = json.loads(text)
    except OSError as error:
        raise ValueError(
            f"{path}: the annotation file cannot be opened ({error.strerror}); check the path"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{path}: not a JSON file ({error}); export the annotations in COCO format again"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: COCO's format is an object with images, annotations and categories, not a list"
        )
    return content


class _Records:
    """One list of the JSON, read column by column with errors that name the file and the record."""

    def __init__(self, kind: str, content: Record, key: str, path: Path) -> None:
        if not isinstance(content.get(key), list):
            raise ValueError(
                f"{path}: the list {key!r} is missing; a COCO file has images, annotations and categories"
            )
        self.kind, self.path, self.records = kind, path, content[key]
        if not self.records and key != "annotations":
            raise ValueError(
                f"{path}: the list {key!r} is empty; there is nothing to train on or to evaluate"
            )
        if not all(isinstance(record, dict) for record in self.records):
            raise ValueError(
                f"{path}: the list {key!r} holds something else than objects; export the file again"
            )

    def error(self, row: int, problem: str) -> ValueError:
        """The error to raise about one record."""
        name = self.records[row].get("id", f"number {row + 1} (without id)")
        return ValueError(f"{self.path}: {self.kind} {name} {problem}")

    def column(self, key: str) -> list[Any]:
        """The values of a key that every record must have."""
        try:
            return [record[key] for record in self.records]
        except KeyError:
            row = next(i for i, record in enumerate(self.records) if key not in record)
            raise self.error(row, f"has no {key!r}; add it") from None

    def ids(self) -> npt.NDArray[np.int64]:
        """The records' own ids: whole numbers, each once."""
        ids = self.column("id")
        seen = set()
        for row, value in enumerate(ids):
            if not isinstance(value, int):
                raise self.error(row, "has an id that is not a whole number; number the records")
            if value in seen:
                raise self.error(row, f"stands there twice; give each {self.kind} an id of its own")
            seen.add(value)
        return np.array(ids, dtype=np.int64)

    def numbers(self, keys: Sequence[str]) -> npt.NDArray[np.float64]:  # [records, keys]
        """Positive numbers under these keys."""
        values = _as_rows(
            zip(*(self.column(key) for key in keys), strict=True), len(self.records), len(keys)
        )
        wrong = ~(values > 0).all(axis=1)
        if wrong.any():
            raise self.error(
                int(np.argmax(wrong)),
                f"needs positive numbers for {' and '.join(keys)}; correct them",
            )
        return values


def _as_rows(
    values: Iterable[Any], count: int, width: int
) -> npt.NDArray[np.float64]:  # [count, width]
    """Rows of numbers; a row that is something else becomes NaN."""
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


class _Boxes(NamedTuple):
    """Columns of the annotations, in the order of the file."""

    rows: npt.NDArray[np.int64]  # [B] place in the file: some are left out
    image: npt.NDArray[np.int64]  # [B] index of the image
    boxes: npt.NDArray[np.float64]  # [B, 4] xyxy
    labels: npt.NDArray[np.int64]  # [B]
    areas: npt.NDArray[np.float64]  # [B]
    crowd: npt.NDArray[np.bool_]  # [B]


def _read_boxes(
    records: _Records, image_ids: npt.NDArray[np.int64], category_ids: npt.NDArray[np.int64]
) -> _Boxes:
    records.ids()
    image = _look_up(records, "image_id", image_ids, "is not in the list 'images'")
    labels = _look_up(records, "category_id", category_ids, "is not in the list 'categories'")
    xywh = _as_rows(records.column("bbox"), len(records.records), 4)
    box_areas = xywh[:, 2] * xywh[:, 3]
    given_areas = [
        [record.get("area", area)] for record, area in zip(records.records, box_areas, strict=True)
    ]
    areas = _as_rows(given_areas, len(box_areas), 1)[:, 0]
    wrong = ~(np.isfinite(xywh).all(axis=1) & np.isfinite(areas))
    if wrong.any():
        problem = "has a bbox or area that is not made of finite numbers; correct or remove it"
        raise records.error(int(np.argmax(wrong)), problem)
    kept = (xywh[:, 2] > 0) & (xywh[:, 3] > 0)
    if not kept.all():
        first = records.records[int(np.argmin(kept))]["id"]
        logger.warning(
            "%s: %d boxes without a positive width and height are dropped (first: annotation %s)",
            records.path, (~kept).sum(), first,
        )  # fmt: skip
    boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    crowd = np.array([bool(record.get("iscrowd", 0)) for record in records.records], dtype=bool)
    return _Boxes(
        np.flatnonzero(kept), image[kept], boxes[kept], labels[kept], areas[kept], crowd[kept]
    )


def _read_masks(records: _Records, found: _Boxes, sizes: npt.NDArray[np.float64]) -> PackedMasks:
    kinds, contents = [], []
    for row, image in zip(found.rows.tolist(), found.image.tolist(), strict=True):
        height, width = sizes[image].astype(int).tolist()
        try:
            kind, content = read_segmentation(
                records.records[row].get("segmentation"), (height, width)
            )
        except ValueError as error:
            raise records.error(row, f"{error}; correct or remove its segmentation") from error
        kinds.append(kind)
        contents.append(content)
    missing = kinds.count(NOTHING)
    if 0 < missing < len(kinds):  # where there are none at all, training on masks refuses
        logger.warning(
            "%s: %d of %d objects have no mask (first: annotation %s); training leaves them out",
            records.path, missing, len(kinds), records.records[found.rows[kinds.index(NOTHING)]]["id"],
        )  # fmt: skip
    return pack(kinds, contents)


def _look_up(
    records: _Records, key: str, ids: npt.NDArray[np.int64], problem: str
) -> npt.NDArray[np.int64]:
    """Positions in the sorted ids of the ids that the records refer to."""
    position = {value: i for i, value in enumerate(ids.tolist())}
    references = records.column(key)
    try:
        found = [position.get(value, -1) for value in references]
    except TypeError:  # a list or an object in place of an id
        found = [position.get(value, -1) if isinstance(value, int) else -1 for value in references]
    if -1 in found:
        row = found.index(-1)
        raise records.error(
            row,
            f"refers to {key} {references[row]!r}, which {problem}; add it or remove the {records.kind}",
        )
    return np.array(found, dtype=np.int64)


def _file_names(records: _Records) -> list[str]:
    """Paths below the image folder; LVIS tells them only as the end of COCO's address."""
    names = []
    for row, record in enumerate(records.records):
        name = record.get("file_name") or "/".join(str(record.get("coco_url", "")).split("/")[-2:])
        if not name or not isinstance(name, str):
            raise records.error(row, "has no 'file_name'; add it")
        names.append(name)
    return names


def _refuse_corners(found: _Boxes, sizes: npt.NDArray[np.float64], annotations: Path) -> None:
    xywh = np.concatenate([found.boxes[:, :2], found.boxes[:, 2:] - found.boxes[:, :2]], axis=1)
    if are_corners(xywh, sizes[found.image]):
        raise ValueError(
            f"{annotations}: the boxes are [x1, y1, x2, y2], but COCO's bbox is [x, y, width, height]; "
            f"`centernet2 check {annotations} --fix OUT.json` writes a corrected copy"
        )


def are_corners(xywh: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64]) -> bool:
    """Whether what should be [x, y, width, height] in images of `sizes` [B, 2] (height, width) is [x1, y1, x2, y2].

    So it is where all of them lie well as corners and many run out of their images as they stand.
    """
    if not len(xywh):
        return False
    limits = sizes[:, ::-1] + 1
    good_corners = (xywh[:, 2:] > xywh[:, :2]) & (xywh[:, :2] >= -1) & (xywh[:, 2:] <= limits)
    outside = (xywh[:, :2] + xywh[:, 2:] > limits).any(axis=1)
    return bool(good_corners.all() and outside.mean() >= CORNERS_OUTSIDE)


def _warn_of_boxes_outside(dataset: DetectionDataset, annotations: Path) -> None:
    """Such boxes are clipped in training; many of them hint at corners where COCO has width and height."""
    sizes = np.stack([dataset.widths, dataset.heights], axis=1)
    limits = np.repeat(sizes, np.diff(dataset.offsets), axis=0)  # [B, 2]
    outside = np.any(
        (dataset.boxes[:, :2] < -1) | (dataset.boxes[:, 2:] > limits + 1), axis=1
    )  # [B]
    if outside.any():
        logger.warning(
            "%s: %d of %d boxes reach outside their image and are clipped (first: in image %d); where they are many, "
            "check that bbox is [x, y, width, height]",
            annotations, outside.sum(), len(outside),
            dataset.image_ids[np.searchsorted(dataset.offsets, np.argmax(outside), side="right") - 1],
        )  # fmt: skip
