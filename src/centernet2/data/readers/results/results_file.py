"""Read results files: detections in COCO's format and its relatives.

The relatives are files of detectron2, mmdetection and Ultralytics, JSON lines, a table of columns,
an object around the list, and the predictions.json of `centernet2 predict`. Images are joined by
their ids or file names, classes by their ids or names.
"""

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from centernet2.data.dataset import DetectionDataset
from centernet2.data.findings import Finding
from centernet2.data.readers.box_units import OTHER_FORMS, rows_in_shares
from centernet2.data.readers.json_file import (
    READ_KEYS,
    garbage_collection_off,
    json_problem,
    read_json_file,
)
from centernet2.data.readers.json_records import Record
from centernet2.data.readers.repetitions import repeated_rows
from centernet2.data.readers.results.detection_agreement import (
    Placed,
    is_clearly_better,
    share_on_objects,
)
from centernet2.data.readers.results.detection_joins import (
    CLASS_NAME_KEYS,
    IMAGE_NAME_KEYS,
    RecordNames,
    find_image_indices,
    find_labels,
)
from centernet2.data.readers.results.detection_masks import fill_boxes, read_detection_masks
from centernet2.data.readers.results.detection_table import NEEDED_KEYS, DetectionTable, first_of
from centernet2.structures import FloatArray, IntArray, RunLengths
from centernet2.text_files import decode_text

logger = logging.getLogger(__name__)

LIST_KEYS = ("annotations", "predictions", "detections", "results")  # of an object around the list
RESULT_KEYS = {*READ_KEYS, *LIST_KEYS, *IMAGE_NAME_KEYS, *CLASS_NAME_KEYS, "score", "box"}
OBJECT_SUFFIXES = (".pth", ".pt", ".pkl", ".npy", ".npz", ".safetensors")
IMAGE_SIZE = "image size"  # key of (height, width) in the records of `predict`
FORM_ON_OBJECTS = 0.5  # share of the best detections that shows another form of boxes


class ResultsContent(NamedTuple):
    """A results file that is not yet joined to a data set: a record per detection."""

    path: Path
    records: list[Record]
    names: RecordNames


class Results(NamedTuple):
    """The D detections of a results file, joined to a data set."""

    results: FloatArray  # [D, 7]: image index, x, y, width, height, score, label
    masks: list[RunLengths] | None  # [D]; None: no detection has one
    findings: tuple[Finding, ...]  # what was repaired or kept; also logged


@garbage_collection_off()
def read_results(path: Path, dataset: DetectionDataset) -> Results:
    """Read a results file and join it to the images and classes of a data set.

    Raises:
        ValueError: the problem, with the file and the number of the detection, from 0.
    """
    return join_results(parse_results(path), dataset)


def parse_results(path: Path) -> ResultsContent:
    """Read a results file in any of the accepted forms."""
    if path.suffix.lower() in OBJECT_SUFFIXES and path.is_file():
        raise _not_results(path, "it holds Python objects; weights are given as --weights")
    content = read_json_file(path, "results file", _parse_text, RESULT_KEYS)
    names = RecordNames({}, {})
    if isinstance(content, dict):
        names = _own_names(content)
        content = _list_of(path, content)
    if not isinstance(content, list):
        raise _not_results(path, f"it holds {repr(content)[:40]}")
    if content and isinstance(content[0], dict) and _is_of_predict(content[0]):
        content = _flatten_predictions(path, content)
    if {type(record) for record in content} - {dict}:
        row = next(i for i, record in enumerate(content) if not isinstance(record, dict))
        raise _not_results(path, f"detection {row} is {repr(content[row])[:40]}")
    if content and not any("score" in record for record in content):
        raise ValueError(f"{path}: no detection has a 'score'; {_kind_without_scores(content[0])}")
    return ResultsContent(path, content, names)


def join_results(content: ResultsContent, dataset: DetectionDataset) -> Results:
    """Join the detections of a file to the images and classes of a data set."""
    table = DetectionTable(content.path, content.records)
    if not content.records:
        logger.warning("%s holds no detection: every object counts as missed", content.path)
        return Results(np.zeros((0, 7)), None, ())
    with_mask = np.array([bool(each) for each in table.column("segmentation")])  # [D]
    scores, boxes = table.scores(), table.boxes(optional=with_mask)
    placed = Placed(boxes, scores)
    images = find_image_indices(table, content.names, dataset, placed)
    sizes = np.stack([dataset.heights, dataset.widths], axis=1)[images].astype(np.int64)  # [D, 2]
    if IMAGE_SIZE in table.keys:
        _refuse_other_sizes(table, sizes)
    masks = None
    if with_mask.any():
        masks = read_detection_masks(table, sizes)
        fill_boxes(table, boxes, masks)
    _refuse_other_units(table, dataset, placed, images)
    labels = find_labels(table, content.names, dataset, placed, images)
    table.note(
        "repeated", "keeps", repeated_rows([images, labels, *boxes.T]),
        "a detection equals an earlier one in image, class and box, and counts as a mistake; write "
        "each once",
    )  # fmt: skip
    for each in table.log.findings:
        logger.warning(
            "%s: %s (%d of %d detections, first: %s)",
            content.path, each.advice, each.total, len(table), each.examples[0].text,
        )  # fmt: skip
    logger.info(
        "%s: %d detections in %d of %d images",
        content.path, len(table), len(np.unique(images)), len(dataset),
    )  # fmt: skip
    results = np.column_stack([images, boxes, scores, labels]).astype(np.float64)
    return Results(results, masks, tuple(table.log.findings))


def _parse_text(path: Path, content: bytes, **options: Any) -> Any:
    """Parse a JSON value, or a JSON object per line."""
    if not content.strip():
        raise _not_results(path, "the file is empty; results without a detection are []")
    text = decode_text(content, path)
    try:
        return json.loads(text, **options)
    except RecursionError as error:
        raise _not_results(path, "its lists are nested too deeply") from error
    except ValueError as error:
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        if len(lines) < 2 or not _is_object(lines[0][1]):
            raise _not_results(path, json_problem(error)) from error
    return [_parse_line(path, number, line, **options) for number, line in lines]


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _parse_line(path: Path, number: int, line: str, **options: Any) -> Any:
    try:
        return json.loads(line, **options)
    except ValueError as error:
        raise ValueError(
            f"{path}, line {number}: not a JSON object ({json_problem(error)}); correct or remove "
            "the line"
        ) from error


def _not_results(path: Path, reason: str) -> ValueError:
    return ValueError(f"{path} is not a COCO results file (a JSON list of detections): {reason}")


def _own_names(content: Record) -> RecordNames:
    """Return the names that a file's lists of images and categories give to its ids."""

    def names(key: str, name_key: str) -> dict[Any, str]:
        records = content.get(key)
        return {
            record["id"]: record[name_key]
            for record in (records if isinstance(records, list) else ())
            if isinstance(record, dict)
            and isinstance(record.get("id"), int | str)
            and isinstance(record.get(name_key), str)
        }

    return RecordNames(names("images", "file_name"), names("categories", "name"))


def _list_of(path: Path, content: Record) -> list[Any]:
    """Return the list of detections in an object around it."""
    for key in LIST_KEYS:
        if isinstance(content.get(key), list):
            return list(content[key])
    if "score" in content and not isinstance(content["score"], list):  # JSON lines with one line
        return [content]
    columns = {key: value for key, value in content.items() if isinstance(value, list)}
    if "score" in columns:
        lengths = {key: len(column) for key, column in columns.items()}
        if len(set(lengths.values())) > 1:
            counted = ", ".join(f"{key!r} {length}" for key, length in list(lengths.items())[:6])
            raise _not_results(
                path, f"its columns have different lengths: {counted}; write a value per detection"
            )
        rows = zip(*columns.values(), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]
    keys = ", ".join(map(repr, list(content)[:6])) or "(none)"
    raise _not_results(path, f"it is an object with the keys {keys}; {NEEDED_KEYS}")


def _is_of_predict(record: Record) -> bool:
    return isinstance(record.get("detections"), list) and "score" not in record


def _flatten_predictions(path: Path, images: list[Any]) -> list[Record]:
    """Convert the records per image of `centernet2 predict` to one per detection."""
    records = []
    for number, image in enumerate(images):
        if not isinstance(image, dict) or not isinstance(image.get("detections"), list):
            raise ValueError(f"{path}: image number {number + 1} has no list of 'detections'")
        for detection in image["detections"]:
            if not isinstance(detection, dict):
                raise ValueError(
                    f"{path}: image number {number + 1} has a detection {repr(detection)[:40]}"
                )
            size = [image.get("height"), image.get("width")]
            record = {"file_name": image.get("file"), IMAGE_SIZE: size, **detection}
            box = record.pop("box", None)
            if isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)):
                record["bbox"] = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            records.append(record)
    logger.warning(
        "%s is of `centernet2 predict`, which leaves out detections below its score threshold: "
        "metrics are lower than those of `centernet2 eval --weights`", path,
    )  # fmt: skip
    return records


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _kind_without_scores(record: Record) -> str:
    if "scores" in record or "boxes" in record:
        return f"write a record for each detection, not for each image; {NEEDED_KEYS}"
    if {"iscrowd", "area", "id"} & record.keys():
        return "this seems to be a file of ground truth: give it as --data"
    return NEEDED_KEYS


def _refuse_other_sizes(table: DetectionTable, sizes: IntArray) -> None:
    """Refuse the detections of `predict` on copies of the images in another size."""
    for row, (own, size) in enumerate(zip(table.column(IMAGE_SIZE), sizes.tolist(), strict=True)):
        if own != size and own != [None, None]:
            raise table.error(
                row,
                f"was made on an image of size {own}, in the data set it is {size} (height, "
                "width); run `predict` on the images of the data set",
            )


def _refuse_other_units(
    table: DetectionTable, dataset: DetectionDataset, placed: Placed, images: IntArray
) -> None:
    """Refuse corners and shares in place of [x, y, width, height] in pixels."""
    boxes = placed.boxes
    sizes = np.stack([dataset.widths, dataset.heights], axis=1)[images]  # [D, 2]
    ends = boxes[:, :2] + boxes[:, 2:]
    in_shares = rows_in_shares(boxes, sizes)
    in_shares |= bool((ends <= 1).all() and (ends > 0).any())
    if (row := first_of(in_shares)) is not None:
        raise table.error(
            row,
            f"has the bbox {boxes[row].tolist()}, as the boxes are shares of the image size; "
            "multiply x and width by the width of the image, y and height by its height",
        )
    _refuse_other_forms(table, dataset, placed, images)
    outside = (boxes[:, :2] >= sizes).any(axis=1) | (ends <= 0).any(axis=1)
    table.note(
        "box outside", "keeps", np.flatnonzero(outside).tolist(),
        "a box lies outside its image; were these detections made on resized images?",
    )  # fmt: skip


def _refuse_other_forms(
    table: DetectionTable, dataset: DetectionDataset, placed: Placed, images: IntArray
) -> None:
    """Refuse corners, and centers, in place of [x, y, width, height].

    All of these may be inside their images, so the objects tell which form is meant.
    """
    plain = share_on_objects(dataset, placed, images)
    for form in OTHER_FORMS:
        boxes = form.turn(placed.boxes)
        if not (boxes[:, 2:] > 0).all():
            continue
        share = share_on_objects(dataset, Placed(boxes, placed.scores), images)
        if is_clearly_better(share, plain, least=FORM_ON_OBJECTS):
            raise ValueError(
                f"{table.path}: the boxes are {form.name}, as only so they lie on the objects, but "
                "COCO's bbox is [x, y, width, height], where x and y are its top left corner; "
                "convert them"
            )
