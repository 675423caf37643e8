"""The masks of the annotations of a COCO JSON file; those that cannot be used become findings."""

from collections.abc import Mapping

from centernet2.data.annotation_masks import NO_MASK, NO_PIXEL, PackedMasks, pack_masks
from centernet2.data.findings import FindingLog
from centernet2.data.readers.annotation_records import BoxColumns
from centernet2.data.readers.image_records import ImageColumns
from centernet2.data.readers.segmentations import Repair, Segmentation, read_segmentation

UNREADABLE_MASKS = "masks that cannot be read"  # kind of problem
REPAIRS: dict[Repair, tuple[str, str]] = {  # kind of problem, what is done
    "flat": ("polygons that are not in a list of polygons", "each is the only one of its object"),
    "text": ("masks with numbers written as text", "the text is read as a number"),
    "parts": (
        "masks with polygons of fewer than three points or an odd count of numbers",
        "these polygons are left out",
    ),
}


def read_masks(boxes: BoxColumns, images: ImageColumns, log: FindingLog) -> PackedMasks:
    """Read the masks of the usable annotations, in their order."""
    table, kinds, contents = boxes.table, [], []
    wrong: dict[int, str] = {}
    found: dict[str, list[int]] = {"none": [], "no pixel": [], **{each: [] for each in REPAIRS}}
    for row, image in zip(boxes.rows.tolist(), boxes.image.tolist(), strict=True):
        height, width = images.sizes[image].tolist()
        try:
            read = read_segmentation(table.records[row].get("segmentation"), (height, width))
        except ValueError as error:
            wrong[row], read = str(error), Segmentation(NO_MASK)
        kinds.append(read.kind)
        contents.append(read.content)
        if read.repair:
            found[read.repair].append(row)
        if read.kind == NO_MASK and row not in wrong:
            found["none"].append(row)
        elif read.kind & NO_PIXEL:
            found["no pixel"].append(row)
    _log_masks(boxes, wrong, found, log)
    return pack_masks(kinds, contents)


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
