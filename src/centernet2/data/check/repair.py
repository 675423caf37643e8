"""Write a repaired copy of annotations, without the problems that a check finds."""

import json
import os
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from centernet2.data.check.annotations import BORDER_TOLERANCE
from centernet2.data.check.examination import ExaminedSplit
from centernet2.data.check.usable_records import (
    box_of,
    clip_to_image,
    have_corners,
    incomplete_records,
    is_finite_number,
    repeated,
    without_incomplete,
)
from centernet2.data.findings import Xywh
from centernet2.data.image_check import ImageFacts
from centernet2.data.readers.json_records import Record
from centernet2.files import write_atomic


def write_repaired(splits: Mapping[str, ExaminedSplit], output: Path) -> dict[Path, list[str]]:
    """Write a repaired copy of every split's annotations, and a list of changes.

    A single split is written to `output`, several to OUTPUT_train.json and so on. The copy names
    images by absolute paths.

    Returns:
        {file: changes}.
    """
    written = {}
    for name, split in splits.items():
        path = output
        if len(splits) > 1:
            path = output.with_name(f"{output.stem}_{name}{output.suffix}")
        content, changes = repair(split.content)
        content, more = _without_unusable_images(content, split.images)
        changes += more
        folder = split.folder.resolve()
        for image in content["images"]:
            image["file_name"] = os.path.join(folder, str(image["file_name"]))
        write_atomic(path, json.dumps(content))
        write_atomic(path.with_suffix(".changes.txt"), "".join(f"{line}\n" for line in changes))
        written[path] = changes
    return written


def repair(content: Record) -> tuple[Record, list[str]]:
    """Copy records of COCO's format without their problems.

    Returns:
        The copy, and a list of the changes.
    """
    changes = [f"{record} removed: {lack}" for record, lack in incomplete_records(content)]
    content = without_incomplete(content)
    images = _first_of_each(content["images"], "image", changes)
    categories = _first_of_each(content["categories"], "category", changes)
    annotations = _repair_annotations(
        content["annotations"],
        {image["id"]: image for image in images},
        {category["id"] for category in categories},
        changes,
    )
    repaired = {"images": images, "categories": categories, "annotations": annotations}
    return {**content, **repaired}, changes


def _repair_annotations(
    annotations: list[Record],
    image_of: dict[Any, Record],
    category_ids: set[Any],
    changes: list[str],
) -> list[Record]:
    corners = have_corners(annotations, [box_of(each) for each in annotations], image_of)
    ids = {annotation["id"] for annotation in annotations}
    free_ids = count(max(ids | {len(annotations)}) + 1)
    taken: set[int] = set()
    kept: list[Record] = []
    for annotation in annotations:
        label = f"annotation {annotation['id']}"
        box = box_of(annotation)
        if corners and box is not None:
            box = (box[0], box[1], box[2] - box[0], box[3] - box[1])
            changes.append(f"{label}: corners {annotation['bbox']} written as {list(box)}")
        reason = _reason_to_drop(annotation, box, image_of, category_ids)
        if reason or box is None:
            changes.append(f"{label} removed: {reason}")
            continue
        inner = clip_to_image(box, image_of[annotation["image_id"]])
        if max(abs(a - b) for a, b in zip(inner, box, strict=True)) > BORDER_TOLERANCE:
            changes.append(f"{label}: {list(box)} clipped to {list(inner)}")
            box = inner
        number = annotation["id"]
        if number in taken:
            number = next(free_ids)
            changes.append(f"{label} renumbered {number}: its id was a duplicate")
        taken.add(number)
        if not is_finite_number(annotation.get("area", 0)):
            changes.append(f"{label}: area {annotation['area']} replaced by that of its box")
        kept.append(_with_box(annotation, number, box))
    return kept


def _with_box(annotation: Record, number: int, box: Xywh) -> Record:
    area = annotation.get("area")
    if not is_finite_number(area) or not area or area <= 0:
        area = box[2] * box[3]
    return {**annotation, "id": number, "bbox": list(box), "area": area}


def _reason_to_drop(
    annotation: Record,
    box: Xywh | None,
    image_of: dict[Any, Record],
    category_ids: set[Any],
) -> str:
    if annotation["image_id"] not in image_of:
        return f"there is no image {annotation['image_id']}"
    if annotation["category_id"] not in category_ids:
        return f"there is no category {annotation['category_id']}"
    if box is None:
        return f"{annotation.get('bbox')} is not four finite numbers"
    if min(box[2:]) <= 0:
        return f"{annotation['bbox']} has no extent"
    if min(clip_to_image(box, image_of[annotation["image_id"]])[2:]) <= 0:
        return f"{annotation['bbox']} is outside the image"
    return ""


def _first_of_each(records: list[Record], kind: str, changes: list[str]) -> list[Record]:
    first = {record["id"]: record for record in reversed(records)}
    for record in repeated(records, lambda record: record["id"]):
        name = record.get("file_name", record.get("name"))
        changes.append(f"{kind} {record['id']} ({name}) removed: its id was a duplicate")
    return [record for record in records if first[record["id"]] is record]


def _without_unusable_images(
    content: Record, images: Iterable[tuple[Record, ImageFacts]]
) -> tuple[Record, list[str]]:
    """Remove images that training could not use, and their annotations."""
    reasons = {id(record): _why_unusable(record, facts) for record, facts in images}
    kept = [image for image in content["images"] if not reasons.get(id(image))]
    ids = {image["id"] for image in kept}
    changes = [
        f"image {image['id']} ({image.get('file_name')}) removed: {reason}"
        for image in content["images"]
        if (reason := reasons.get(id(image)))
    ]
    annotations = [each for each in content["annotations"] if each["image_id"] in ids]
    copies = [dict(image) for image in kept]
    return {**content, "images": copies, "annotations": annotations}, changes


def _why_unusable(record: Record, facts: ImageFacts) -> str:
    if facts.problem or facts.size == (record["height"], record["width"]):
        return facts.problem
    height, width = facts.size
    return f"it is {width} x {height}, annotated as {record['width']} x {record['height']}"
