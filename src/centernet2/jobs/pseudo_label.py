"""Self-training: what a trained detector finds in images without annotations becomes the annotations of another."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from centernet2.builders.loading import StrPath, load_predictor
from centernet2.files import write_json
from centernet2.predictor import Prediction, find_images
from centernet2.visualize import detection_records

logger = logging.getLogger(__name__)


def pseudo_label(
    weights: StrPath,
    images: StrPath,
    output: StrPath,
    *,
    score_threshold: float = 0.5,
    overrides: Sequence[str] = (),
    device: str | None = None,
) -> dict[str, int]:
    """Writes the teacher's detections as annotations in COCO's format (arXiv 2103.07461, section 5: self-training).

    An image in which nothing scores enough is listed without annotations; training leaves such images out. One that
    cannot be read is left out here, with a line in the log.

    Args:
        weights: of the teacher: one of our checkpoints, or zoo:NAME.
        images: folder; all images below it are labelled.
        output: the JSON file. It is a data set by its name: DATASETS.TRAIN "('train.json@images', 'OUTPUT@IMAGES')".
        score_threshold: in 0..1; detections below it are no labels.
        overrides: KEY VALUE pairs on top of the teacher's settings, such as those of test-time augmentation.

    Returns:
        {class: number of boxes}.
    """
    predictor = load_predictor(weights, overrides, device=device)
    if predictor.class_names is None:
        raise ValueError(f"{weights} does not say the names of its classes, which annotations need")
    folder, path = Path(images), Path(output)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {path.parent} of --output does not exist; create it first"
        )
    categories = [
        {"id": label, "name": name} for label, name in enumerate(predictor.class_names, start=1)
    ]
    content: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": categories}
    counts = dict.fromkeys(predictor.class_names, 0)
    for found in predictor.predict_files(find_images([folder]), score_threshold=score_threshold):
        record = _image_record(found, folder, number=len(content["images"]) + 1)
        content["images"].append(record)
        for annotation in _annotations(found, record["id"], first=len(content["annotations"]) + 1):
            content["annotations"].append(annotation)
            counts[predictor.class_names[annotation["category_id"] - 1]] += 1
    write_json(path, content)
    logger.info(
        "%s: %d images, %d boxes", path, len(content["images"]), len(content["annotations"])
    )
    return counts


def _image_record(found: Prediction, folder: Path, *, number: int) -> dict[str, Any]:
    height, width = found.image.shape[1:]
    name = found.path.relative_to(folder).as_posix()
    return {"id": number, "file_name": name, "width": width, "height": height}


def _annotations(found: Prediction, image_id: int, *, first: int) -> list[dict[str, Any]]:
    annotations = []
    for number, record in enumerate(detection_records(found.detections, None), start=first):
        left, top, right, bottom = record["box"]
        width, height = round(right - left, 2), round(bottom - top, 2)
        mask = {"segmentation": record["segmentation"]} if "segmentation" in record else {}
        annotations.append(
            {
                "id": number,
                "image_id": image_id,
                "category_id": record["label"] + 1,
                "bbox": [left, top, width, height],
                "area": round(width * height, 2),
                "iscrowd": 0,
                "score": record["score"],
                **mask,
            }
        )
    return annotations
