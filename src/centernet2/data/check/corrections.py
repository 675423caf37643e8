"""Corrections of labels that people have accepted, applied to a copy of the data."""

import json
import math
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from centernet2.data.findings import Xywh
from centernet2.data.readers.json_file import json_problem, read_json_file
from centernet2.data.readers.json_records import Record, as_number
from centernet2.structures import UserId
from centernet2.text_files import decode_text

DECIDED_KEYS = ("accept", "suggested")  # which people change
TOLERANCE = 0.01  # pixels by which a box may differ from the one that was judged


class Label(NamedTuple):
    """Class and box of an object."""

    name: str
    xywh: Xywh


class Correction(NamedTuple):
    """A change of one label: before and after; None: no object."""

    number: int  # in the file of suggestions
    kind: str
    split: str
    image_id: UserId
    file_name: str
    annotation_id: UserId | None
    label: Label | None
    suggested: Label | None

    def describe(self) -> str:
        """Word the change as a line of a list."""
        annotation = f"annotation {self.annotation_id} in {self.file_name}"
        if self.label is None and self.suggested is not None:
            return f"added: {self.suggested.name} in {self.file_name} ({self.kind})"
        if self.label is None or self.suggested is None:
            return f"removed: {annotation} ({self.kind})"
        if self.label.name != self.suggested.name:
            names = f"{self.label.name} to {self.suggested.name}"
            return f"corrected: {annotation}: {names} ({self.kind})"
        return f"corrected: {annotation}: its box ({self.kind})"


def read_accepted(path: Path) -> list[Correction]:
    """Read the suggestions of `centernet2 check` that people have accepted.

    Raises:
        ValueError: it is another file, or a record of it is damaged.
    """
    accepted = []
    for number, record in enumerate(_suggestions(path), start=1):
        try:
            if _is_accepted(record["accept"]):
                accepted.append(_correction(record))
        except (KeyError, TypeError, ValueError) as error:
            problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{path}: suggestion {number}: {problem}") from error
    return accepted


def require_undecided(path: Path) -> None:
    """Raise ValueError if a check would replace decisions about suggestions."""
    if path.exists() and any(each.get("accept") is not None for each in _suggestions(path)):
        raise ValueError(
            f"{path} holds decisions; apply them with --accepted {path} --fix COPY.json, and move "
            "the file away to check again"
        )


def _suggestions(path: Path) -> list[Record]:
    content = read_json_file(path, "list of suggestions", _parse, DECIDED_KEYS)
    records = content.get("suggestions") if isinstance(content, dict) else None
    if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
        raise ValueError(
            f"{path} holds no suggestions; give the labels.json of `centernet2 check --with-model`"
        )
    return records


def _parse(path: Path, content: bytes, **options: Any) -> Any:
    text = decode_text(content, path)
    try:
        return json.loads(text, **options)
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file ({json_problem(error)}); correct it") from error


def _is_accepted(decision: object) -> bool:
    if decision is not None and not isinstance(decision, bool):
        raise ValueError(f'"accept" is {decision!r}; write true, false or null')
    return decision is True


def _correction(record: Record) -> Correction:
    columns = {name: record[name] for name in Correction._fields}
    labels = {name: _label(record[name]) for name in ("label", "suggested")}
    if not any(labels.values()):
        raise ValueError('"label" and "suggested" are both null: there is nothing to change')
    return Correction(**columns | labels)


def _label(record: Record | None) -> Label | None:
    if record is None:
        return None
    if not isinstance(record, dict):
        raise ValueError(f"{record!r} is no label; it needs a class and a bbox")
    x, y, width, height = map(as_number, record["bbox"])
    if not (math.isfinite(x + y + width + height) and width > 0 and height > 0):
        raise ValueError(f"the box {record['bbox']} has no area")
    return Label(record["class"], (x, y, width, height))


def corrected_content(
    content: Record, corrections: Iterable[Correction]
) -> tuple[Record, list[str]]:
    """Apply corrections to the repaired records of a split in COCO's format.

    An object whose box is corrected loses its mask.

    Returns:
        The records, and a line for each change.

    Raises:
        ValueError: the data are not as they were judged.
    """
    annotations = {each["id"]: each for each in content["annotations"]}
    categories = {each["name"]: each["id"] for each in content["categories"]}
    images = {each["id"] for each in content["images"]}
    used = [each for each in annotations if isinstance(each, int)]
    free = count(max(used, default=0) + 1)
    changes = []
    for each in corrections:
        old = annotations.get(each.annotation_id)
        is_known = each.suggested is None or each.suggested.name in categories
        if each.image_id not in images or not is_known or not _is_unchanged(each, old, categories):
            raise ValueError(
                f"suggestion {each.number} is about {each.file_name}, which is not labelled as it "
                "was when it was judged; check the data with --with-model again"
            )
        if each.suggested is None:
            del annotations[each.annotation_id]
        else:
            new = old or {"id": next(free), "image_id": each.image_id, "iscrowd": 0}
            new = {**new, "category_id": categories[each.suggested.name]}
            if each.label is None or each.label.xywh != each.suggested.xywh:
                new = _with_box(new, each.suggested.xywh)
            annotations[new["id"]] = new
        changes.append(each.describe())
    return {**content, "annotations": [*annotations.values()]}, changes


def _is_unchanged(
    correction: Correction, annotation: Record | None, categories: Mapping[str, UserId]
) -> bool:
    """Whether the label of a correction is that of the annotation."""
    label = correction.label
    if label is None or annotation is None:
        return label is None and annotation is None
    differences = [abs(a - b) for a, b in zip(annotation["bbox"], label.xywh, strict=True)]
    class_id, image_id = annotation["category_id"], annotation["image_id"]
    same = class_id == categories.get(label.name) and image_id == correction.image_id
    return bool(same and max(differences) <= TOLERANCE)


def _with_box(annotation: Record, xywh: Xywh) -> Record:
    """Return an annotation with another box, and without the mask of the old one."""
    changed = {**annotation, "bbox": [*xywh], "area": xywh[2] * xywh[3]}
    changed.pop("segmentation", None)
    return changed
