"""The annotations of a COCO JSON file as columns; unusable ones become findings."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from centernet2.data.findings import FindingLog, ProblemExample, Xywh
from centernet2.data.geometry import rotated_extent
from centernet2.data.readers.box_units import find_other_form, rows_in_shares
from centernet2.data.readers.image_records import ClassColumns, ImageColumns
from centernet2.data.readers.json_records import Record, RecordTable, as_id, as_number
from centernet2.data.readers.segmentations import box_of_segmentation
from centernet2.structures import BoolArray, FloatArray, IntArray

MANY_OUTSIDE = 0.5  # share of boxes outside their images that are no slips
MANY_OUTSIDE_ADVICE = "they seem to be of images of another size: correct sizes, images or boxes"
BORDER_TOLERANCE = 1.0  # pixels by which a box may exceed its image
SHARE_BOXES = "shares of the image in place of pixels"  # kind of problem
CROWD_WORDS = {"": 0, "false": 0, "true": 1}
ROTATION_KEYS = ("rotation", "angle")  # some tools write degrees, others radians
KNOWN_KEYS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation")


class BoxColumns(NamedTuple):
    """The usable annotations, by image and then in the order of the file."""

    table: RecordTable  # of all annotations
    rows: IntArray  # [B] of the table
    image: IntArray  # [B] index of the image
    xywh: FloatArray  # [B, 4]
    labels: IntArray  # [B]
    areas: FloatArray  # [B]
    crowd: BoolArray  # [B]


def read_boxes(
    content: Record, images: ImageColumns, classes: ClassColumns, log: FindingLog
) -> BoxColumns:
    """Read the list of annotations; test sets are published without one."""
    table = RecordTable("annotation", content, "annotations", log)
    table.rename_keys(KNOWN_KEYS)
    _count_ids(table)
    image = table.positions("image_id", images.positions, "images")
    table.place = lambda row: images.files[image[row]] if image[row] >= 0 else ""
    labels = table.positions("category_id", classes.labels, "categories")
    known = np.maximum(image, 0)
    sizes = images.sizes[known] if len(images.ids) else np.zeros((len(table), 2), np.int32)
    xywh = table.rows_of("bbox", 4)
    _derive_boxes(table, xywh, image, sizes)
    _refuse_box_modes(table)
    _refuse_rotations(table)
    _enclose_rotated(table, xywh)
    usable = _finite_boxes(table, xywh, (image >= 0) & (labels >= 0))
    in_shares = _scale_shares(table, xywh, sizes, usable)
    _turn_other_form(table, xywh, sizes, usable)
    usable = _boxes_in_images(table, xywh, sizes, usable)
    areas = _areas(table, xywh, usable, sizes.prod(axis=1, where=in_shares[:, None]))
    crowd = _crowd(table, usable)
    _count_ignored(table, crowd)
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(image[rows], kind="stable")]
    return BoxColumns(table, rows, image[rows], xywh[rows], labels[rows], areas[rows], crowd[rows])


def clip_xywh(xywh: FloatArray, sizes: npt.NDArray[np.int32]) -> FloatArray:  # [B, 4]
    """Clip boxes to their images, of `sizes` [B, 2] (height, width)."""
    limits = sizes[:, ::-1]
    low = np.maximum(xywh[:, :2], 0)
    high = np.minimum(xywh[:, :2] + xywh[:, 2:], limits)
    return np.concatenate([low, high - low], axis=1)


def _count_ids(table: RecordTable) -> None:
    """Find ids that are missing or repeated; nothing but messages needs them."""
    ids = table.column("id")
    if set(map(type, ids)) <= {int, str} and len(set(ids)) == len(ids):
        return
    seen, without = set(), []
    for row, value in enumerate(ids):
        identity = as_id(value)
        if identity is None or identity in seen:
            without.append(row)
        seen.add(identity)
    table.log.add(
        "annotations without an id of their own", "repairs", "they are numbered anew", without,
        table.has("id"),
    )  # fmt: skip


def _derive_boxes(
    table: RecordTable, xywh: FloatArray, image: IntArray, sizes: npt.NDArray[np.int32]
) -> None:
    """Take the box of the mask, in place, for objects that have only a mask."""
    derived = []
    for row in np.flatnonzero(np.isnan(xywh[:, 0])).tolist():
        record = table.records[row]
        if record.get("bbox") or not record.get("segmentation") or image[row] < 0:
            continue
        box = box_of_segmentation(record["segmentation"], (int(sizes[row, 0]), int(sizes[row, 1])))
        if box is not None:
            xywh[row] = box
            derived.append(row)
    table.log.add(
        "annotations without bbox", "repairs", "the box of their mask is used", derived,
        table.has("bbox"),
    )  # fmt: skip


def _enclose_rotated(table: RecordTable, xywh: FloatArray) -> None:
    """Replace boxes that CVAT rotates by the upright boxes around them, in place."""
    rotated = []
    for row, record in enumerate(table.records):
        attributes = record.get("attributes")
        if not attributes or not isinstance(attributes, dict) or record.get("segmentation"):
            continue
        angle = math.radians(as_number(attributes.get("rotation", 0)))  # degrees, clockwise
        if not math.isfinite(angle) or not round(math.sin(angle), 9):
            continue
        x, y, width, height = xywh[row].tolist()
        if width > 0 and height > 0:  # not so where there is no box
            new_width, new_height = rotated_extent(width, height, angle)
            left, top = x + (width - new_width) / 2, y + (height - new_height) / 2
            xywh[row] = left, top, new_width, new_height
            rotated.append(row)
    table.log.add(
        "boxes that are rotated by an attribute", "repairs",
        "the box around the rotated one is used", rotated, table.has("bbox", "attributes"),
    )  # fmt: skip


def _refuse_box_modes(table: RecordTable) -> None:
    """Find boxes that a program of Detectron2 says are in another form than COCO's."""
    table.log.add(
        "boxes whose bbox_mode is not 1 (XYWH_ABS)", "refuses",
        "write [x, y, width, height] in pixels, and remove bbox_mode",
        [i for i, record in enumerate(table.records) if record.get("bbox_mode") not in (None, 1)],
        table.has("bbox_mode", "bbox"),
    )  # fmt: skip


def _refuse_rotations(table: RecordTable) -> None:
    """Find boxes with an angle beside them, whose unit and center are not known."""
    for key in ROTATION_KEYS:
        rows = [
            row
            for row, record in enumerate(table.records)
            if key in record and is_rotation(record[key]) and not record.get("segmentation")
        ]
        table.log.add(
            f"boxes that are rotated by '{key}'", "refuses",
            f"write the box around the rotated one, and remove {key}", rows,
            table.has("bbox", key),
        )  # fmt: skip


def is_rotation(value: Any) -> bool:
    """Whether the value of a rotation turns a box: any but nothing and 0."""
    return value not in (None, "", False) and as_number(value) != 0


def _count_ignored(table: RecordTable, crowd: BoolArray) -> None:
    """Find objects that tools mark as ignored; COCO's evaluation ignores only crowds."""
    ignored = [row for row, value in enumerate(table.column("ignore")) if value and not crowd[row]]
    table.log.add(
        "annotations that are marked as ignored", "keeps",
        "they count as objects, as in pycocotools; write iscrowd 1 to leave them out", ignored,
        table.has("ignore", "iscrowd"),
    )  # fmt: skip


def _finite_boxes(table: RecordTable, xywh: FloatArray, known: BoolArray) -> BoolArray:
    finite = np.isfinite(xywh).all(axis=1)
    table.log.add(
        "boxes that are not four finite numbers", "refuses", "correct or remove them",
        np.flatnonzero(~finite).tolist(), table.has("bbox"),
    )  # fmt: skip
    usable: BoolArray = known & finite
    return usable


def _scale_shares(
    table: RecordTable, xywh: FloatArray, sizes: npt.NDArray[np.int32], usable: BoolArray
) -> BoolArray:
    """Find boxes in shares; scale them to pixels, in place, for a repaired copy."""
    in_shares = np.zeros(len(xywh), dtype=bool)
    rows = np.flatnonzero(usable)
    in_shares[rows[rows_in_shares(xywh[rows], sizes[rows])]] = True
    table.log.add(
        SHARE_BOXES, "refuses",
        "multiply x and width by the width of the image, and y and height by its height, as "
        "`centernet2 check DATA --fix OUT.json` does",
        np.flatnonzero(in_shares).tolist(), table.has("bbox"),
    )  # fmt: skip
    xywh[in_shares] *= sizes[in_shares][:, [1, 0, 1, 0]]
    return in_shares


def _turn_other_form(
    table: RecordTable, xywh: FloatArray, sizes: npt.NDArray[np.int32], usable: BoolArray
) -> None:
    """Find boxes as corners or centers; turn them, in place, for a repaired copy."""
    rows = np.flatnonzero(usable)
    form = find_other_form(xywh[rows], sizes[rows])
    if form is not None:
        xywh[rows] = form.turn(xywh[rows])
        table.log.add(
            form.kind, "refuses",
            "write [x, y, width, height], as `centernet2 check DATA --fix OUT.json` does",
            rows.tolist(), _with_box(table, xywh),
        )  # fmt: skip


def _boxes_in_images(
    table: RecordTable, xywh: FloatArray, sizes: npt.NDArray[np.int32], usable: BoolArray
) -> BoolArray:
    """Whether a box has an extent inside its image; count those that exceed the image."""
    x1, y1 = xywh[:, 0], xywh[:, 1]
    x2, y2 = x1 + xywh[:, 2], y1 + xywh[:, 3]
    height, width = sizes[:, 0], sizes[:, 1]
    with np.errstate(invalid="ignore"):
        positive = (xywh[:, 2] > 0) & (xywh[:, 3] > 0)
        inside = (np.minimum(x2, width) > np.maximum(x1, 0)) & (
            np.minimum(y2, height) > np.maximum(y1, 0)
        )
        excess = np.max([-x1, -y1, x2 - width, y2 - height], axis=0)
    example = _with_box(table, xywh)
    kept: BoolArray = usable & positive & inside
    table.log.add(
        "boxes without positive width and height", "drops", "correct or remove them",
        np.flatnonzero(usable & ~positive).tolist(), example,
    )  # fmt: skip
    outside = usable & positive & ~inside
    is_slip = outside.sum() <= max(1, MANY_OUTSIDE * usable.sum())
    table.log.add(
        "boxes completely outside their image", "drops" if is_slip else "refuses",
        "correct or remove them" if is_slip else MANY_OUTSIDE_ADVICE,
        np.flatnonzero(outside).tolist(), example,
    )  # fmt: skip
    table.log.add(
        "boxes that extend beyond their image", "repairs", "training clips them to the image",
        np.flatnonzero(kept & (excess > BORDER_TOLERANCE)).tolist(), example,
    )  # fmt: skip
    return kept


def _areas(
    table: RecordTable, xywh: FloatArray, usable: BoolArray, pixels: npt.NDArray[np.integer[Any]]
) -> Any:
    """Areas of the objects [records]; that of the box where there is none.

    `pixels` [records] are those of the image where areas may be shares of it, else 1.
    """
    areas = table.numbers_of("area")
    with np.errstate(invalid="ignore", over="ignore"):
        areas = np.where(areas <= 1, areas * pixels, areas)
        wrong = ~(np.isfinite(areas) & (areas > 0))
        areas[wrong] = xywh[wrong, 2] * xywh[wrong, 3]
    rows = np.flatnonzero(wrong & usable).tolist()
    missing = [row for row in rows if table.records[row].get("area") is None]
    table.log.add(
        "areas that are no positive numbers", "repairs", "that of the box is used",
        sorted({*rows} - {*missing}), table.has("area"),
    )  # fmt: skip
    table.log.add(
        "annotations without area", "note", "that of the box is used", missing, table.has("area")
    )
    return areas


def _crowd(table: RecordTable, usable: BoolArray) -> BoolArray:
    """Whether annotations are crowds; unclear ones become unusable, in place.

    Crowds are one of two kinds of annotation, so 2 may mean anything.
    """
    values = [record.get("iscrowd", 0) for record in table.records]
    try:
        if set(values) <= {0, 1}:
            return np.array(values, dtype=bool)
    except TypeError:  # a list or an object
        pass
    read = [_crowd_flag(value) for value in values]
    table.log.add(
        "iscrowd that is neither 0 nor 1", "refuses", "write 0 or 1",
        [row for row, flag in enumerate(read) if flag is None], table.has("iscrowd"),
    )  # fmt: skip
    table.log.add(
        "iscrowd that is null or a text", "repairs", "null and '' mean 0",
        [row for row, flag in enumerate(read) if flag is not None and not _is_flag(values[row])],
        table.has("iscrowd"),
    )  # fmt: skip
    usable &= np.array([flag is not None for flag in read], dtype=bool)
    return np.array([bool(flag) for flag in read], dtype=bool)


def _crowd_flag(value: Any) -> int | None:
    if value is None:
        return 0
    if isinstance(value, str) and value.strip().lower() in CROWD_WORDS:
        return CROWD_WORDS[value.strip().lower()]
    number = int(value) if isinstance(value, bool) else as_number(value)
    return int(number) if number in (0, 1) else None


def _is_flag(value: Any) -> bool:
    return isinstance(value, int | float)


def _with_box(table: RecordTable, xywh: FloatArray) -> Callable[[int], ProblemExample]:
    def example(row: int) -> ProblemExample:
        box = _box(xywh[row])
        return ProblemExample(table.has("bbox")(row).text, table.place(row), box)

    return example


def _box(row: FloatArray) -> Xywh:
    x, y, width, height = row.tolist()
    return x, y, width, height
