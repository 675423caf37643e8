"""Files of an evaluation's detections, for each data set with its own ids."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from centernet2.evaluation.coco_results import write_results
from centernet2.evaluation.ground_truth import GroundTruth, source_sets
from centernet2.evaluation.stage_metrics import STAGE_RECORD
from centernet2.evaluation.stream import ImageResult
from centernet2.files import write_json
from centernet2.outputs import require_replaceable

logger = logging.getLogger(__name__)

RESULTS_FILE = "predictions.json"
STAGES_FILE = "stages.json"


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
    for part in source_sets(truth):
        own = {i: images[i] for i in part.images.tolist() if i in images}
        target = folder / part.folder
        write_results(
            target / RESULTS_FILE,
            own.values(),
            image_ids=image_ids,
            category_ids=part.category_ids,
            class_names=truth.class_names,
        )
        records = [
            {"image_id": image_ids[i], **each.stages} for i, each in own.items() if each.stages
        ]
        if records:
            write_json(target / STAGES_FILE, records)
        stale = [] if records else [target / STAGES_FILE]
        if part.folder:
            logger.info("%s: its detections are in %s", part.name, target)
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
