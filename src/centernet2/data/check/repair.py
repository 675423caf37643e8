"""Write a repaired copy of annotations: what training would use of them."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

import numpy as np

from centernet2.data.check.corrections import Correction, corrected_content
from centernet2.data.check.examination import ExaminedSplit
from centernet2.data.dataset import DetectionDataset
from centernet2.data.findings import Finding
from centernet2.data.image_check import ImageFacts, checked_image
from centernet2.data.readers.annotation_records import (
    BORDER_TOLERANCE,
    SHARE_BOXES,
    clip_xywh,
)
from centernet2.data.readers.box_units import OTHER_FORMS
from centernet2.data.readers.coco import ReadRecords
from centernet2.data.readers.image_records import DUPLICATE_NAMES
from centernet2.data.readers.json_records import Record, as_id
from centernet2.data.readers.layouts import SPLITS
from centernet2.data.readers.mask_records import SHARE_MASKS, UNREADABLE_MASKS
from centernet2.data.readers.repetitions import SEVERAL_IDS, first_listings, repeated_boxes
from centernet2.files import write_atomic
from centernet2.outputs import json_mark, mark_of
from centernet2.structures import BoolArray, IntArray, UserId

# kinds of problems that training refuses, but whose records the copy keeps
CORRECTED = (
    *(form.kind for form in OTHER_FORMS), SHARE_BOXES, DUPLICATE_NAMES, SEVERAL_IDS,
    UNREADABLE_MASKS, SHARE_MASKS,
)  # fmt: skip


def write_repaired(
    splits: Mapping[str, ExaminedSplit], output: Path, corrections: Sequence[Correction] = ()
) -> dict[Path, list[str]]:
    """Write a repaired copy of every split's annotations, and a list of changes.

    A single split is written to `output`, several to OUTPUT_train.json and so on. The copy names
    images by absolute paths.

    Args:
        corrections: of labels that can be used, but are wrong.

    Returns:
        {file: changes}.
    """
    for each in corrections:
        if each.split not in splits:
            raise ValueError(
                f"suggestion {each.number} is about the split {each.split}, but the data have "
                f"{', '.join(splits)}; give the data that were checked"
            )
    copies = {}
    for name, split in splits.items():
        path = output if len(splits) == 1 else _file_of_split(output, name)
        content = repaired_content(split.content, split.records, split.images)
        changes = [*_changes(split.records), *_removed_images(split.dataset, split.images)]
        own = [each for each in corrections if each.split == name]
        content, corrected = corrected_content(content, own)
        copies[path] = content, [*changes, *corrected]
    for path, (content, changes) in copies.items():
        mark = json_mark("check")
        write_atomic(path, json.dumps(mark | content | mark))  # the mark of another command goes
        lines = [f"# {mark_of('check')}", *changes]
        write_atomic(list_of_changes(path), "".join(f"{line}\n" for line in lines))
    return {path: changes for path, (_, changes) in copies.items()}


def repaired_files(output: Path) -> list[Path]:
    """Return all files that `write_repaired` may write, of any splits."""
    copies = [output, *(_file_of_split(output, split) for split in SPLITS)]
    return [*copies, *map(list_of_changes, copies)]


def list_of_changes(path: Path) -> Path:
    """Return the file that lists the changes of a repaired copy."""
    return path.with_suffix(".changes.txt")


def _file_of_split(output: Path, split: str) -> Path:
    return output.with_name(f"{output.stem}_{split}{output.suffix}")


def repaired_content(
    content: Record, records: ReadRecords, images: Sequence[ImageFacts] = ()
) -> Record:
    """Copy records of COCO's format without their problems.

    Args:
        content: the original, whose other keys are kept.
        records: what training reads of it.
        images: properties of the image files; those that cannot be used are left out.
    """
    dataset = records.dataset
    kept = np.ones(len(dataset), dtype=bool)
    for i, facts in enumerate(images):
        kept[i] = not checked_image(dataset, i, facts).is_unusable
    own, first = np.arange(len(dataset)), first_listings(records.images, records.boxes)
    first = np.where(kept & kept[first], first, own)  # one of them may state another size
    listed = kept & (first == own)
    return {
        **content,
        "images": [_image(records, i) for i in np.flatnonzero(listed).tolist()],
        "annotations": list(_annotations(records, kept, first)),
        "categories": [
            {**record, "id": number, "name": name}
            for record, number, name in zip(
                records.classes.records, dataset.category_ids, dataset.class_names, strict=True
            )
        ],
    }


def _image(records: ReadRecords, i: int) -> Record:
    dataset = records.dataset
    height, width = dataset.size(i)
    return {
        **records.images.records[i],
        "id": dataset.image_id(i),
        "file_name": os.path.join(dataset.folder.resolve(), records.images.files[i]),
        "height": height,
        "width": width,
    }


def _annotations(records: ReadRecords, kept: BoolArray, first: IntArray) -> Iterator[Record]:
    """Yield the annotations of the images `kept` [I]; join those of several listings.

    Args:
        first: [I] listing that the objects of each image belong to.
    """
    dataset, boxes = records.dataset, records.boxes
    image_of = first[boxes.image]
    repeated = {r for r in repeated_boxes(boxes, image_of) if image_of[r] != boxes.image[r]}
    clipped = clip_xywh(boxes.xywh, records.images.sizes[boxes.image])
    exceeds = np.abs(clipped - boxes.xywh).max(axis=1, initial=0) > BORDER_TOLERANCE
    xywh = np.where(exceeds[:, None], clipped, boxes.xywh).tolist()
    ids = annotation_ids(records)
    for row in np.argsort(boxes.rows).tolist():  # in the order of the file
        image = int(image_of[row])
        if kept[image] and row not in repeated:
            record = {**boxes.table.records[boxes.rows[row]]}
            record |= {
                "id": ids[row],
                "image_id": dataset.image_id(image),
                "category_id": dataset.category_ids[dataset.labels[row]],
                "bbox": xywh[row],
                "area": float(dataset.areas[row]),
                "iscrowd": int(dataset.crowd[row]),
                "segmentation": dataset.segmentation(row),
            }
            if record["segmentation"] is None:
                del record["segmentation"]
            yield record


def annotation_ids(records: ReadRecords) -> list[UserId]:
    """Ids of the annotations in the file; new ones where they are missing or repeated."""
    table = records.boxes.table
    given = [as_id(value) for value in table.column("id")]
    largest = max((each for each in given if isinstance(each, int)), default=0)
    free, taken, ids = count(max(largest, len(given)) + 1), set[UserId](), list[UserId]()
    for value in given:
        own = next(free) if value is None or value in taken else value
        taken.add(own)
        ids.append(own)
    return [ids[row] for row in records.boxes.rows.tolist()]


def _changes(records: ReadRecords) -> Iterator[str]:
    """Word the changes of the records that the findings tell of."""
    of_masks = [each for each in records.mask_findings if each.action != "drops"]
    for finding in (*records.dataset.findings, *of_masks):
        if finding.action in ("refuses", "drops", "repairs"):
            done = "repaired" if _is_corrected(finding) else "removed"
            yield from (f"{done}: {each.text} ({finding.kind})" for each in finding.examples)


def _is_corrected(finding: Finding) -> bool:
    return finding.action == "repairs" or finding.kind in CORRECTED


def _removed_images(dataset: DetectionDataset, images: Sequence[ImageFacts]) -> Iterator[str]:
    for i, facts in enumerate(images):
        image = checked_image(dataset, i, facts)
        if image.is_unusable:
            yield f"removed: image {dataset.image_id(i)} ({image.name}): {image.why_unusable}"
