"""Read COCO's JSON format into a packed index; errors name the wrong record."""

import gc
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from centernet2.data.annotation_masks import NO_MASK, PackedMasks, pack_masks, read_segmentation
from centernet2.data.dataset import DetectionDataset, offsets_of, pack_paths, xywh_to_xyxy
from centernet2.data.federated import FederatedLabels, pack_federated
from centernet2.data.index import cached
from centernet2.data.readers.json_records import Record, RecordTable, as_rows
from centernet2.data.shards import folder_of_shards, in_shards
from centernet2.data.user_ids import pack_ids

logger = logging.getLogger(__name__)

LARGE_JSON = 2**26  # bytes: reading it takes seconds
CORNERS_OUTSIDE = 0.25  # share of boxes beyond their images that shows corners, not width, height


@contextmanager
def garbage_collection_off() -> Iterator[None]:
    """Suspend Python's garbage collection.

    There is nothing to collect here, and scanning millions of records repeatedly takes a third of
    the time of reading a large JSON file.
    """
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
    """Read a COCO JSON file, optionally with masks.

    Test sets are published without a list of annotations: their images have no objects.
    """

    def read() -> DetectionDataset:
        return pack_content(read_json(annotations), annotations, images, name=name, masks=masks)

    dataset = cached([annotations], ["coco", name, masks], read)
    return replace(dataset, folder=Path(images), annotations=Path(annotations))


def load_coco_in_shards(
    annotations: Path, shards: Sequence[str], *, name: str, masks: bool = False
) -> DetectionDataset:
    """Read a COCO JSON file whose images are in tar files."""
    folder = Path(folder_of_shards(shards))

    def read() -> DetectionDataset:
        dataset = pack_content(read_json(annotations), annotations, folder, name=name, masks=masks)
        files = in_shards(list(map(os.fsdecode, dataset.files)), shards)
        return replace(dataset, files=pack_paths(list(files)))

    dataset = cached([annotations, *shards], ["shards", name, masks], read)
    return replace(dataset, folder=folder, annotations=Path(annotations))


@garbage_collection_off()
def pack_content(
    content: Record, annotations: Path, images: Path, *, name: str, masks: bool
) -> DetectionDataset:
    """Pack records in COCO's format into an index; errors name the file `annotations`."""
    image_table = RecordTable("image", content, "images", annotations)
    categories = RecordTable("category", content, "categories", annotations)
    box_table = RecordTable(
        "annotation", {"annotations": [], **content}, "annotations", annotations
    )

    category_ids, category_order = np.unique(categories.ids(), return_index=True)
    class_names = categories.names()
    image_ids, image_order = np.unique(image_table.ids(), return_index=True)
    sizes = image_table.positive_numbers(["height", "width"])[image_order]  # [I, 2]
    files = _file_names(image_table)
    columns = _read_boxes(box_table, image_ids, category_ids)
    _refuse_corners(columns, sizes, annotations)
    classes = [categories.records[i] for i in category_order.tolist()]

    order = np.argsort(columns.image, kind="stable")
    dataset = DetectionDataset(
        name=name,
        class_names=tuple(class_names[i] for i in category_order),
        category_ids=tuple(category_ids.tolist()),
        frequencies=_frequencies(classes),
        folder=Path(images),
        annotations=None,
        files=pack_paths([files[i] for i in image_order]),
        image_ids=pack_ids(image_ids.tolist()),
        heights=sizes[:, 0].astype(np.int32),
        widths=sizes[:, 1].astype(np.int32),
        offsets=offsets_of(np.bincount(columns.image, minlength=len(image_ids))),
        xywh=columns.xywh[order],
        labels=columns.labels[order].astype(np.int32),
        areas=columns.areas[order],
        crowd=columns.crowd[order],
        masks=_read_masks(box_table, columns, sizes).take(order) if masks else None,
        federated=_federated([image_table.records[i] for i in image_order], category_ids),
    )
    _warn_of_boxes_outside(dataset, annotations)
    logger.info(
        "%s: %d images, %d boxes, %d classes",
        annotations, len(dataset), len(dataset.labels), len(class_names),
    )  # fmt: skip
    return dataset


@garbage_collection_off()
def read_json(path: Path) -> Record:
    """Read the content of a COCO JSON file."""
    try:
        text = Path(path).read_bytes()
        if len(text) >= LARGE_JSON:
            logger.info("reading %s (%d MiB)", path, len(text) // 2**20)
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
            f"{path}: COCO's format is an object with images, annotations and categories, "
            "not a list"
        )
    return content


class _BoxColumns(NamedTuple):
    """Columns of the annotations with a valid box, in the order of the file."""

    rows: npt.NDArray[np.int64]  # [B] position in the file
    image: npt.NDArray[np.int64]  # [B] index of the image
    xywh: npt.NDArray[np.float64]  # [B, 4]
    labels: npt.NDArray[np.int64]  # [B]
    areas: npt.NDArray[np.float64]  # [B]
    crowd: npt.NDArray[np.bool_]  # [B]


def _read_boxes(
    table: RecordTable, image_ids: npt.NDArray[np.int64], category_ids: npt.NDArray[np.int64]
) -> _BoxColumns:
    table.ids()
    image = table.positions("image_id", image_ids, "is not in the list 'images'")
    labels = table.positions("category_id", category_ids, "is not in the list 'categories'")
    xywh = as_rows(table.column("bbox"), len(table.records), 4)
    box_areas = xywh[:, 2] * xywh[:, 3]
    given_areas = [
        [record.get("area", area)] for record, area in zip(table.records, box_areas, strict=True)
    ]
    areas = as_rows(given_areas, len(box_areas), 1)[:, 0]
    wrong = ~(np.isfinite(xywh).all(axis=1) & np.isfinite(areas))
    if wrong.any():
        problem = "has a bbox or area that is not made of finite numbers; correct or remove it"
        raise table.error(int(np.argmax(wrong)), problem)
    kept = (xywh[:, 2] > 0) & (xywh[:, 3] > 0)
    if not kept.all():
        first = table.records[int(np.argmin(kept))]["id"]
        logger.warning(
            "%s: %d boxes without a positive width and height are dropped (first: annotation %s)",
            table.path, (~kept).sum(), first,
        )  # fmt: skip
    crowd = np.array([bool(record.get("iscrowd", 0)) for record in table.records], dtype=bool)
    return _BoxColumns(
        np.flatnonzero(kept), image[kept], xywh[kept], labels[kept], areas[kept],
        crowd[kept],
    )  # fmt: skip


def _read_masks(
    table: RecordTable, columns: _BoxColumns, sizes: npt.NDArray[np.float64]
) -> PackedMasks:
    kinds, contents = [], []
    for row, image in zip(columns.rows.tolist(), columns.image.tolist(), strict=True):
        height, width = sizes[image].astype(int).tolist()
        try:
            kind, content = read_segmentation(
                table.records[row].get("segmentation"), (height, width)
            )
        except ValueError as error:
            raise table.error(row, f"{error}; correct or remove its segmentation") from error
        kinds.append(kind)
        contents.append(content)
    missing = kinds.count(NO_MASK)
    if 0 < missing < len(kinds):  # without any mask, `require_masks` raises an error
        first = table.records[columns.rows[kinds.index(NO_MASK)]]["id"]
        logger.warning(
            "%s: %d of %d objects have no mask (first: annotation %s); training leaves them out",
            table.path, missing, len(kinds), first,
        )  # fmt: skip
    return pack_masks(kinds, contents)


def _file_names(table: RecordTable) -> list[str]:
    """Paths below the image folder; LVIS has them only as the end of COCO's URL."""
    names = []
    for row, record in enumerate(table.records):
        name = record.get("file_name") or "/".join(str(record.get("coco_url", "")).split("/")[-2:])
        if not name or not isinstance(name, str):
            raise table.error(row, "has no 'file_name'; add it")
        names.append(name)
    return names


def _frequencies(classes: Sequence[Record]) -> tuple[str, ...]:
    """LVIS: whether each class is rare, common or frequent; empty where no class says it."""
    letters = tuple(str(each.get("frequency") or "") for each in classes)
    return letters if any(letters) else ()


def _federated(
    images: Sequence[Record], category_ids: npt.NDArray[np.int64]
) -> FederatedLabels | None:
    """LVIS: the annotated classes of each image; None if the images do not name them."""
    if not any("neg_category_ids" in image for image in images):
        return None
    label_of = {number: label for label, number in enumerate(category_ids.tolist())}

    def labels(key: str) -> list[list[int]]:
        return [[label_of[n] for n in image.get(key) or () if n in label_of] for image in images]

    return pack_federated(labels("neg_category_ids"), labels("not_exhaustive_category_ids"))


def _refuse_corners(
    columns: _BoxColumns, sizes: npt.NDArray[np.float64], annotations: Path
) -> None:
    if are_corners(columns.xywh, sizes[columns.image]):
        raise ValueError(
            f"{annotations}: the boxes are [x1, y1, x2, y2], but COCO's bbox is "
            f"[x, y, width, height]; `centernet2 check {annotations} --fix OUT.json` writes a "
            "corrected copy"
        )


def are_corners(xywh: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64]) -> bool:
    """Whether boxes that should be [x, y, width, height] are [x1, y1, x2, y2].

    They are if all of them are valid as corners, and many exceed their images if read as width and
    height. `sizes` [B, 2] holds the (height, width) of each box's image.
    """
    if not len(xywh):
        return False
    limits = sizes[:, ::-1] + 1
    good_corners = (xywh[:, 2:] > xywh[:, :2]) & (xywh[:, :2] >= -1) & (xywh[:, 2:] <= limits)
    outside = (xywh[:, :2] + xywh[:, 2:] > limits).any(axis=1)
    return bool(good_corners.all() and outside.mean() >= CORNERS_OUTSIDE)


def _warn_of_boxes_outside(dataset: DetectionDataset, annotations: Path) -> None:
    """Warn of boxes that exceed their images; many of them suggest corners."""
    sizes = np.stack([dataset.widths, dataset.heights], axis=1)
    limits = np.repeat(sizes, np.diff(dataset.offsets), axis=0)  # [B, 2]
    corners = xywh_to_xyxy(dataset.xywh)
    outside = np.any((corners[:, :2] < -1) | (corners[:, 2:] > limits + 1), axis=1)  # [B]
    if outside.any():
        image = np.searchsorted(dataset.offsets, np.argmax(outside), side="right") - 1
        logger.warning(
            "%s: %d of %d boxes extend beyond their image and are clipped (first: in image %s); "
            "if there are many, check that bbox is [x, y, width, height]",
            annotations, outside.sum(), len(outside), dataset.image_id(int(image)),
        )  # fmt: skip
