"""The command `pseudo-label`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from centernet2.files import write_json
from centernet2.jobs import Overrides, PathArgument, WeightsArgument

if TYPE_CHECKING:
    from centernet2.predictor import Prediction

logger = logging.getLogger(__name__)


def pseudo_label(
    *overrides: Overrides,
    weights: WeightsArgument,
    images: PathArgument,
    output: PathArgument,
    score: float = 0.5,
    device: str | None = None,
) -> dict[str, int]:
    """Label images with a trained detector, to train another one on them.

    An image without a detection is listed without annotations; training leaves such images out.
    One that cannot be read is left out, with a line in the log (arXiv 2103.07461, section 5).

    Parameters
    ----------
    weights
        The teacher: a checkpoint, or zoo:NAME of a published model.
    images
        Folder of images without annotations.
    output
        The JSON file, in COCO's format. Train on it with
        DATASETS.TRAIN "('labelled.json@images', 'pseudo.json@unlabelled')".
    score
        Detections below it are no labels.
    device
        cuda, npu, xpu, mps or cpu; default: the best one available.

    Returns
    -------
    The number of boxes of each class.
    """
    from centernet2.builders.loading import load_predictor
    from centernet2.predictor import find_images

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
    for found in predictor.predict_files(find_images([folder]), score_threshold=score):
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
    from centernet2.visualize import detection_records

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
