"""Files of an evaluation's detections, for each data set with its own ids."""

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from centernet2.evaluation.coco_results import write_results
from centernet2.evaluation.ground_truth import GroundTruth, source_sets
from centernet2.evaluation.stage_metrics import STAGE_RECORD
from centernet2.evaluation.stream import ImageResult
from centernet2.files import write_json
from centernet2.outputs import require_replaceable
from centernet2.structures import FloatArray, RunLengths

logger = logging.getLogger(__name__)

RESULTS_FILE = "predictions.json"
STAGES_FILE = "stages.json"


def concatenate_images(
    images: Iterable[ImageResult],
) -> tuple[FloatArray, list[RunLengths] | None, list[dict[str, Any]] | None]:
    """Return the detections of all images, their masks, and the records of the stages."""
    images = list(images)
    results = np.concatenate([np.zeros((0, 7)), *(each.results for each in images)])
    masks = [mask for each in images for mask in each.masks or ()]
    has_masks = bool(images) and all(each.masks is not None for each in images)
    stages = [each.stages for each in images if each.stages is not None]
    return results, masks if has_masks else None, stages or None


def require_replaceable_detections(folder: Path, truth: GroundTruth) -> None:
    """Raise ValueError if `write_detections` would replace files of other origin."""
    for each in {folder, *(folder / part.folder for part in source_sets(truth))}:
        for name in (RESULTS_FILE, STAGES_FILE):
            require_replaceable(each / name, "eval", f"the output folder {folder}")


def write_detections(folder: Path, truth: GroundTruth, images: Mapping[int, ImageResult]) -> None:
    """Write predictions.json and, if the stages were inspected, stages.json.

    Images are by position. Of joined data sets, each has its files in a folder below.
    """
    image_ids = [truth.image_id(i) for i in range(len(truth))]
    for each in source_sets(truth):
        own = {i: images[i] for i in each.images.tolist() if i in images}
        target = folder / each.folder
        results, masks, stages = concatenate_images(own.values())
        write_results(
            target / RESULTS_FILE,
            results,
            masks,
            image_ids=image_ids,
            category_ids=each.category_ids,
            class_names=truth.class_names,
        )
        if stages is not None:
            records = [
                {"image_id": image_ids[i], **record} for i, record in zip(own, stages, strict=True)
            ]
            write_json(target / STAGES_FILE, records)
        stale = [target / STAGES_FILE] if stages is None else []
        if each.folder:
            logger.info("%s: its detections are in %s", each.name, target)
            stale += [folder / RESULTS_FILE, folder / STAGES_FILE]
        for path in stale:  # of an earlier evaluation
            path.unlink(missing_ok=True)


def read_stages(path: Path, truth: GroundTruth) -> dict[int, dict[str, Any]]:
    """Read stages.json by position of the image; empty if it is missing or not ours.

    It only adds to the report of an evaluation, so that a wrong one is said and left out.
    """
    if not path.is_file():
        return {}
    position = {truth.image_id(i): i for i in range(len(truth))}
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        records = None
    if not isinstance(records, list) or not all(map(_is_of_stages, records)):
        logger.warning("%s was not written by `eval`, or by an earlier version: left out", path)
        return {}
    return {position[each["image_id"]]: each for each in records if each["image_id"] in position}


def _is_of_stages(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and isinstance(record.get("image_id"), int | str)
        and all(isinstance(record.get(key), kind) for key, kind in STAGE_RECORD.items())
    )
