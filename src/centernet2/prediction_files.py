"""Files of predictions: predictions.json, and a picture of each image."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hotcoco import mask as rle
from torch import Tensor

from centernet2.files import write_atomic
from centernet2.structures import Detections
from centernet2.visualize import class_name, draw, to_pillow

FileDetections = tuple[Path, Tensor, Detections]  # file, uint8 [3, H, W], detections


def write_predictions(
    predictions: Iterable[FileDetections], output: Path, *, class_names: Sequence[str] | None
) -> int:
    """Write a picture of each image and predictions.json; return the number of images."""
    output.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for path, image, detections in predictions:
        name = f"{len(lines):05d}_{path.stem}.png"
        to_pillow(draw(image, detections, class_names)).save(output / name)
        size = {"width": image.shape[2], "height": image.shape[1]}
        record = {
            "file": str(path),
            "picture": name,
            **size,
            "detections": detection_records(detections, class_names),
        }
        lines.append(json.dumps(record, ensure_ascii=False))
    write_atomic(output / "predictions.json", "[\n" + ",\n".join(lines) + "\n]\n")
    return len(lines)


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
