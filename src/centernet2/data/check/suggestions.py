"""Suggested corrections as JSON records, for people to accept or reject."""

from collections.abc import Mapping, Sequence

import numpy as np

from centernet2.data.check.examination import ExaminedSplit
from centernet2.data.check.label_errors import LabelError
from centernet2.data.check.repair import annotation_ids, repaired_content
from centernet2.data.readers.json_records import Record
from centernet2.ops.box_arrays import xyxy_to_xywh
from centernet2.structures import UserId

DIGITS = 2  # decimals of suggested boxes, in pixels


def suggestion_records(
    errors: Sequence[LabelError], splits: Mapping[str, ExaminedSplit]
) -> list[Record]:
    """Return a numbered record, still without a decision, for each suspected error."""
    ids = {name: annotation_ids(split.records) for name, split in splits.items()}
    boxes = {name: _repaired_boxes(split) for name, split in splits.items()}
    records = []
    for number, error in enumerate(errors, start=1):
        dataset, annotation, label = splits[error.split].dataset, None, None
        if error.row is not None:
            annotation = ids[error.split][error.row]
            name = dataset.class_names[dataset.labels[error.row]]
            label = {"class": name, "bbox": boxes[error.split][annotation]}
        records.append(
            {
                "number": number,
                "accept": None,
                "kind": error.kind,
                "suspicion": round(error.suspicion, 4),
                "reason": error.reason,
                "split": error.split,
                "image_id": dataset.image_id(error.image),
                "file_name": dataset.file_name(error.image),
                "annotation_id": annotation,
                "label": label,
                "suggested": _suggested(error, label, dataset.class_names),
            }
        )
    return records


def _repaired_boxes(split: ExaminedSplit) -> dict[UserId, list[float]]:
    """Return the box of each annotation, by its id, as a repaired copy has it."""
    content = repaired_content(split.content, split.records, split.images)
    return {each["id"]: each["bbox"] for each in content["annotations"]}


def _suggested(
    error: LabelError, label: Record | None, class_names: Sequence[str]
) -> Record | None:
    """Return class and box of the object; None: there is none."""
    if error.label is None:
        return None
    box = [] if label is None else label["bbox"]
    if error.box is not None:
        box = xyxy_to_xywh(np.array([error.box]))[0].round(DIGITS).tolist()
    return {"class": class_names[error.label], "bbox": box}
