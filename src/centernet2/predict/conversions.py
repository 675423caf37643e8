"""Predictions as table rows, JSON records, COCO annotations, YOLO lines and HTML."""

import base64
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from centernet2.files import write_atomic, write_json
from centernet2.images.storage import shown_name
from centernet2.predict.outlines import outline
from centernet2.predict.prediction import Prediction
from centernet2.structures import BoolArray, FloatArray, RunLengths

WHERE, WHERE_IN_FILM = ("image",), ("image", "frame", "time")
WHAT = ("left", "top", "right", "bottom", "score", "label", "name")
BOX_DIGITS, SCORE_DIGITS = 2, 5  # decimals in files
CORNERS = [[0, 1], [2, 1], [2, 3], [0, 3]]  # of a box, as columns of left, top, right, bottom
SHOWN_ROWS = 20  # of the table in a notebook


def row_names(columns: Mapping[str, NDArray[Any]], *, film: bool) -> list[str]:
    """Return the names of the columns of `rows`, also where there is no detection."""
    others = ["id" if name == "ids" else name for name, each in columns.items() if each.ndim == 1]
    return [*(WHERE_IN_FILM if film else WHERE), *WHAT, *others]


def rows(prediction: Prediction) -> list[dict[str, Any]]:
    """Return a row of a table for each detection: where, what, how certain."""
    names = row_names(prediction.columns, film=prediction.frame is not None)
    where: list[Any] = [image_name(prediction) or None]
    if prediction.frame is not None:
        where += [prediction.frame, prediction.time]
    flat = [column.tolist() for column in prediction.columns.values() if column.ndim == 1]
    found = []
    for each, *more in zip(prediction, *flat, strict=True):
        values = [*where, *each.box, each.score, each.label, each.name, *more]
        found.append(dict(zip(names, values, strict=True)))
    return found


def image_name(prediction: Prediction) -> str:
    """Return the file or address of an image as valid UTF-8 text; "": it has none."""
    return "" if prediction.path is None else shown_name(prediction.path)


def records(prediction: Prediction) -> list[dict[str, Any]]:
    """Return a JSON record for each detection: corners, score, label and class name.

    A mask is a compressed RLE of COCO, {"size": [height, width], "counts": text}.
    """
    found: list[dict[str, Any]] = [
        {
            "box": [round(x, BOX_DIGITS) for x in each.box],
            "score": round(each.score, SCORE_DIGITS),
            "label": each.label,
            "class": each.name,
        }
        for each in prediction
    ]
    if "ids" in prediction.columns:
        for record, number in zip(found, prediction.ids.tolist(), strict=True):
            record["id"] = number
    if prediction.has_masks:
        for record, mask in zip(found, prediction.each_mask(), strict=True):
            record["segmentation"] = run_lengths(mask)
    return found


def coco_annotations(prediction: Prediction, image_id: int) -> list[dict[str, Any]]:
    """Return COCO annotations with scores, without ids.

    The category of a label is label + 1. The area is that of the mask, if there is one.
    """
    found = []
    for record in records(prediction):
        left, top, right, bottom = record["box"]
        width, height = round(right - left, BOX_DIGITS), round(bottom - top, BOX_DIGITS)
        mask = record.get("segmentation")
        found.append(
            {
                "image_id": image_id,
                "category_id": record["label"] + 1,
                "bbox": [left, top, width, height],
                "area": round(width * height, BOX_DIGITS) if mask is None else _area_of(mask),
                "iscrowd": 0,
                "score": record["score"],
                **({} if mask is None else {"segmentation": mask}),
            }
        )
    return found


def coco_categories(class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the COCO categories of the annotations."""
    return [{"id": number, "name": name} for number, name in enumerate(class_names, start=1)]


def coco_labels(
    predictions: Iterable[Prediction], folder: Path, class_names: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return detections as labels in COCO's format, for the images below a folder."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, prediction in enumerate(predictions, start=1):
        height, width = prediction.size
        name = (prediction.path or folder).relative_to(folder).as_posix()
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for annotation in coco_annotations(prediction, image_id):
            annotations.append({"id": len(annotations) + 1, **annotation})
    categories = coco_categories(class_names)
    return {"images": images, "annotations": annotations, "categories": categories}


def yolo_lines(prediction: Prediction) -> list[str]:
    """Return a line of YOLO for each detection: label, box or polygon, score.

    A box is its center and its size, a polygon the outline of the mask; both in shares of the
    image.
    """
    height, width = prediction.size
    shares = prediction.boxes / np.array([width, height] * 2, np.float64)  # [D, 4]
    if prediction.has_masks:
        outlines = map(outline, prediction.each_mask())
        corners = [each / [width, height] for each in outlines]  # [P, 2]
        places = [
            (own if len(own) else box[CORNERS]).ravel().tolist()
            for own, box in zip(corners, shares, strict=True)
        ]
    else:
        places = _centers_and_sizes(shares)
    return [
        " ".join([str(each.label), *(f"{value:.6g}" for value in (*place, each.score))])
        for each, place in zip(prediction, places, strict=True)
    ]


def _centers_and_sizes(boxes: FloatArray) -> list[list[float]]:
    """Return boxes [D, 4] as center x and y, width, height."""
    centers, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    places: list[list[float]] = np.concatenate([centers, sizes], axis=1).tolist()
    return places


def csv_lines(found: Iterable[Mapping[str, Any]], names: Sequence[str], *, head: bool) -> str:
    """Return rows as the text of a CSV file (RFC 4180)."""
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    if head:
        writer.writeheader()
    for row in found:
        writer.writerow({key: _rounded(value) for key, value in row.items()})
    return text.getvalue()


def _rounded(value: Any) -> Any:
    return round(value, SCORE_DIGITS) if isinstance(value, float) else value


def save(prediction: Prediction, path: Path) -> None:
    """Write a picture, records (.json) or a table (.csv), as the suffix says."""
    from centernet2.pictures import FILE_FORMATS, save_picture

    suffix = path.suffix.lower()
    if suffix == ".json":
        write_json(path, records(prediction))
    elif suffix == ".csv":
        names = row_names(prediction.columns, film=prediction.frame is not None)
        write_atomic(path, csv_lines(rows(prediction), names, head=True))
    elif suffix in FILE_FORMATS:
        picture = prediction.plot()
        try:
            save_picture(picture, path)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) is not None:  # of the file system
                raise
            size = f"{picture.width} x {picture.height}"
            raise ValueError(
                f"{path}: a picture of {size} pixels cannot be saved so ({error}); use .png"
            ) from error
    else:
        raise ValueError(
            f"{path}: a prediction is saved as {', '.join(FILE_FORMATS)}, .json or .csv"
        )


def html(prediction: Prediction, picture: bytes | None) -> str:
    """Return the drawn image, a PNG, and a table of the first detections as HTML."""
    source = base64.b64encode(picture or b"").decode("ascii")
    image = f'<img src="data:image/png;base64,{source}" alt="detections">' if picture else ""
    table = "".join(
        f"<tr><td>{escape(each.name)}</td><td>{each.score:.3f}</td>"
        f"<td>{', '.join(f'{x:.1f}' for x in each.box)}</td></tr>"
        for each in prediction[:SHOWN_ROWS]
    )
    head = "<tr><th>class</th><th>score</th><th>left, top, right, bottom</th></tr>"
    return f"<p>{escape(repr(prediction))}</p>{image}<table>{head}{table}</table>"


def _area_of(mask: RunLengths) -> int:
    """Return the number of pixels of a mask."""
    from hotcoco import mask as rle

    return rle.area({**mask})


def run_lengths(mask: BoolArray) -> RunLengths:
    """Return a mask [H, W] as a compressed RLE of COCO: size and counts."""
    from hotcoco import mask as rle

    counts = rle.encode(np.asfortranarray(mask))["counts"].decode("ascii")
    return {"size": list(mask.shape), "counts": counts}
