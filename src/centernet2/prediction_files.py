"""Files of predictions: predictions.json, and a picture of each image."""

import json
import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hotcoco import mask as rle
from torch import Tensor

from centernet2.data.storage import remote_url
from centernet2.files import printable, write_atomic
from centernet2.pictures import save_picture
from centernet2.structures import Detections
from centernet2.visualize import class_name, draw, to_pillow

UNSAFE = re.compile(r'[\ud800-\udfff\x00-\x1f<>:"/\\|?*]')  # not in names of files everywhere
PREDICTIONS_FILE = "predictions.json"
NUMBERED = re.compile(r"\d{5,}_.*\.png", re.DOTALL)  # names of pictures
MAX_STEM_BYTES = 150  # of 255, which most file systems allow for a name
logger = logging.getLogger(__name__)
FileDetections = tuple[Path, Tensor, Detections]  # file, uint8 [3, H, W], detections


def write_predictions(
    predictions: Iterable[FileDetections], output: Path, *, class_names: Sequence[str] | None
) -> int:
    """Write a picture of each image and predictions.json; return the number of images.

    If it is interrupted or fails, predictions.json holds the images before that.
    """
    output.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    try:
        for path, image, detections in predictions:
            picture = output / _picture_name(len(lines), path)
            save_picture(to_pillow(draw(image, detections, class_names)), picture)
            record = {
                "file": printable(remote_url(path) or path),
                "picture": picture.name,
                "width": image.shape[2],
                "height": image.shape[1],
                "detections": detection_records(detections, class_names),
            }
            lines.append(json.dumps(record, ensure_ascii=False))
    except BaseException:
        if lines:
            _write_lines(lines, output)
            logger.warning("stopped after %d images, which are in %s", len(lines), output)
        raise
    _write_lines(lines, output)
    return len(lines)


def earlier_files(output: Path) -> list[str]:
    """Return the names in a folder that `write_predictions` may replace."""
    names = [path.name for path in output.iterdir()] if output.is_dir() else []
    return [name for name in names if name == PREDICTIONS_FILE or NUMBERED.fullmatch(name)]


def _write_lines(lines: Sequence[str], output: Path) -> None:
    write_atomic(output / PREDICTIONS_FILE, "[\n" + ",\n".join(lines) + "\n]\n")


def _picture_name(index: int, path: Path) -> str:
    """Name the picture of an image: by its index, as images in two folders may share a name."""
    stem = UNSAFE.sub("_", path.stem).encode()[:MAX_STEM_BYTES].decode("utf-8", "ignore")
    return f"{index:05d}_{stem}.png"


def detection_records(
    detections: Detections, class_names: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Return detections as JSON records: corners, score, label and class name.

    A mask is a compressed RLE of COCO, {"size": [height, width], "counts": text}.
    """
    boxes, scores, labels = (
        detections["boxes"].tolist(),
        detections["scores"].tolist(),
        detections["labels"].tolist(),
    )
    records: list[dict[str, Any]] = [
        {
            "box": [round(x, 2) for x in box],
            "score": round(score, 5),
            "label": label,
            "class": class_name(label, class_names),
        }
        for box, score, label in zip(boxes, scores, labels, strict=True)
    ]
    if "masks" in detections:
        for record, mask in zip(records, detections["masks"].cpu(), strict=True):
            counts = rle.encode(mask.numpy())["counts"].decode("ascii")
            record["segmentation"] = {"size": list(mask.shape), "counts": counts}
    return records
