"""The masks of a COCO JSON file's annotations; unusable ones become findings."""

from collections.abc import Mapping, Sequence

from centernet2.data.annotation_masks import NO_MASK, NO_PIXEL, POLYGONS, PackedMasks, pack_masks
from centernet2.data.findings import FindingLog
from centernet2.data.readers.annotation_records import BoxColumns
from centernet2.data.readers.box_units import is_unit_of
from centernet2.data.readers.image_records import ImageColumns
from centernet2.data.readers.segmentations import (
    Repair,
    Segmentation,
    read_segmentation,
    scaled_polygons,
)

UNREADABLE_MASKS = "masks that cannot be read"  # kind of problem
SHARE_MASKS = "masks in shares of the image in place of pixels"  # kind of problem
REPAIRS: dict[Repair, tuple[str, str]] = {  # kind of problem, what is done
    "flat": ("polygons that are not in a list of polygons", "each is the only one of its object"),
    "pairs": ("polygons with a list [x, y] for each point", "they are read as polygons"),
    "text": ("masks with numbers written as text", "the text is read as a number"),
    "bytes": ("run lengths of bytes that were written as text", "b and the quotes are left out"),
    "parts": (
        "masks with polygons of fewer than three points or an odd count of numbers",
        "these polygons are left out",
    ),
}


def read_masks(boxes: BoxColumns, images: ImageColumns, log: FindingLog) -> PackedMasks:
    """Read the masks of the usable annotations, in their order."""
    table, rows = boxes.table, boxes.rows.tolist()
    wrong: dict[int, str] = {}
    sizes = [(height, width) for height, width in images.sizes[boxes.image].tolist()]
    masks = []
    for row, size in zip(rows, sizes, strict=True):
        try:
            masks.append(read_segmentation(table.records[row].get("segmentation"), size))
        except ValueError as error:
            wrong[row] = str(error)
            masks.append(Segmentation(NO_MASK))
    in_shares = _in_shares(masks)
    for i in in_shares:  # for a repaired copy
        polygons = scaled_polygons(table.records[rows[i]]["segmentation"], sizes[i])
        masks[i] = read_segmentation(polygons, sizes[i])
    found: dict[str, list[int]] = {"none": [], "no pixel": [], **{each: [] for each in REPAIRS}}
    for row, read in zip(rows, masks, strict=True):
        if read.repair:
            found[read.repair].append(row)
        if read.kind == NO_MASK and row not in wrong:
            found["none"].append(row)
        elif read.kind & NO_PIXEL:
            found["no pixel"].append(row)
    log.add(
        SHARE_MASKS, "refuses",
        "multiply x by the width of the image and y by its height, as "
        "`centernet2 check DATA --fix OUT.json` does",
        [rows[i] for i in in_shares], table.has("segmentation"),
    )  # fmt: skip
    _log_masks(boxes, wrong, found, log)
    return pack_masks([mask.kind for mask in masks], [mask.content for mask in masks])


def _in_shares(masks: Sequence[Segmentation]) -> list[int]:
    """Return which masks are polygons in shares; a few small ones may be in pixels."""
    polygons = [i for i, mask in enumerate(masks) if mask.kind % NO_PIXEL == POLYGONS]
    shares = [i for i in polygons if masks[i].may_be_shares]
    return shares if is_unit_of(len(shares), len(polygons)) else []


def _log_masks(
    boxes: BoxColumns, wrong: Mapping[int, str], found: Mapping[str, list[int]], log: FindingLog
) -> None:
    example = boxes.table.has("segmentation")
    log.add(
        UNREADABLE_MASKS, "refuses", "correct or remove them", sorted(wrong),
        lambda row: example(row)._replace(text=f"{boxes.table.label(row)} {wrong[row]}"),
    )  # fmt: skip
    if len(found["none"]) < len(boxes.rows):  # some have masks: otherwise `require_masks` refuses
        log.add(
            "objects without a mask", "drops", "add their masks", sorted(found["none"]), example
        )
    log.add(
        "masks without a pixel", "drops", "correct or remove them", sorted(found["no pixel"]),
        example,
    )  # fmt: skip
    for repair, (kind, done) in REPAIRS.items():
        log.add(kind, "repairs", done, sorted(found[repair]), example)
