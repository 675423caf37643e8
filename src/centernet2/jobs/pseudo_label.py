"""The command `pseudo-label`: label images with a detector."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from centernet2.files import writable_file, write_json
from centernet2.jobs import Device, Overrides, PathArgument, WeightsArgument

if TYPE_CHECKING:
    from centernet2.predictor import Prediction

logger = logging.getLogger(__name__)


def pseudo_label(
    *overrides: Overrides,
    weights: WeightsArgument,
    images: PathArgument,
    output: PathArgument,
    score: float = 0.5,
    device: Device = None,
) -> dict[str, int]:
    """Label images with a trained detector, to train another one on the labels.

    This is the self-training of arXiv 2103.07461, section 5. An image without detections gets no
    annotations, and training skips it. An unreadable image is skipped and logged.

    Parameters
    ----------
    weights
        Checkpoint of the teacher, or zoo:NAME of a published model.
    images
        Folder of images without annotations.
    output
        JSON file in COCO's format. Train on it with
        DATASETS.TRAIN "('labeled.json@images', 'pseudo.json@unlabeled')".
    score
        Minimum score of a detection to become a label.

    Returns
    -------
    The number of boxes of each class.
    """
    from centernet2.builders.loading import load_predictor
    from centernet2.predictor import find_images

    folder, path = Path(images), writable_file(Path(output))
    paths = find_images([folder])
    predictor = load_predictor(weights, overrides, device=device)
    class_names = predictor.class_names
    if class_names is None:
        raise ValueError(f"{weights} has no class names, which annotations need")
    image_records: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for prediction in predictor.predict_files(paths, score_threshold=score):
        image_id = len(image_records) + 1
        image_records.append({"id": image_id, **_describe_image(prediction, folder)})
        for annotation in _to_annotations(prediction):
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **annotation})
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names, start=1)]
    write_json(
        path, {"images": image_records, "annotations": annotations, "categories": categories}
    )
    logger.info("%s: %d images, %d boxes", path, len(image_records), len(annotations))
    counts = Counter(annotation["category_id"] for annotation in annotations)
    return {name: counts[number] for number, name in enumerate(class_names, start=1)}


def _describe_image(prediction: Prediction, folder: Path) -> dict[str, Any]:
    height, width = prediction.image.shape[1:]
    name = prediction.path.relative_to(folder).as_posix()
    return {"file_name": name, "width": width, "height": height}


def _to_annotations(prediction: Prediction) -> Iterator[dict[str, Any]]:
    """Convert detections to COCO annotations without ids."""
    from centernet2.prediction_files import detection_records

    for record in detection_records(prediction.detections, None):
        left, top, right, bottom = record["box"]
        width, height = round(right - left, 2), round(bottom - top, 2)
        mask = {"segmentation": record["segmentation"]} if "segmentation" in record else {}
        yield {
            "category_id": record["label"] + 1,
            "bbox": [left, top, width, height],
            "area": round(width * height, 2),
            "iscrowd": 0,
            "score": record["score"],
            **mask,
        }
