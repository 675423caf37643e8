"""The command `pseudo-label`: label images with a detector."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from centernet2.arguments import checked
from centernet2.files import printable, write_json
from centernet2.jobs import ClassMapArgument, Device, OverridePairs, PathArgument, WeightsArgument
from centernet2.outputs import json_mark, writable_file

if TYPE_CHECKING:
    from centernet2.predict.predictor import Predictor

PseudoClassMap = Annotated[
    ClassMapArgument | None,
    Parameter(
        name="--class-map",
        negative=(),
        help="Rename the teacher's classes to those of the data that the labels are for: old=new, "
        "or a file, as of the other commands.",
    ),
]
logger = logging.getLogger(__name__)


class PseudoLabels(NamedTuple):
    """What pseudo-labeling has written."""

    boxes: dict[str, int]  # number of boxes of each class
    skipped: int  # images that cannot be read or named in the file


@checked()
def pseudo_label(
    *overrides: OverridePairs,
    weights: WeightsArgument,
    images: PathArgument,
    output: PathArgument,
    score: float = 0.5,
    class_map: PseudoClassMap = None,
    device: Device = None,
) -> PseudoLabels:
    """Label images with a trained detector, to train another one on the labels.

    This is the self-training of arXiv 2103.07461. An image without detections gets no
    annotations, and training skips it. An unreadable image is skipped and logged.

    Parameters
    ----------
    weights
        Checkpoint of the teacher, or zoo:NAME of a published model.
    images
        Folder of images without annotations.
    output
        JSON file in COCO's format. Train on it with
        DATASETS.TRAIN "('labelled.json@images', 'pseudo.json@unlabelled')".
    score
        Minimum score, in 0..1, of a detection to become a label.

    Returns
    -------
    The number of boxes of each class, and the number of skipped images.
    """
    from centernet2.builders.detector.predictor_loading import load_predictor
    from centernet2.data import rename_categories
    from centernet2.predict.conversions import coco_labels
    from centernet2.predict.read_sources import FailureList
    from centernet2.predict.sources import find_images, nameable_images
    from centernet2.progress import with_progress
    from centernet2.score_thresholds import require_score

    score = require_score(score, "--score")
    folder, path = Path(images), writable_file(Path(output), command="pseudo-label")
    _require_folder(folder)
    found = find_images([folder])
    predictor = load_predictor(weights, overrides, device=device)
    class_names, renamed = _classes(predictor, class_map, owner=str(weights))
    failures = FailureList()
    report = failures.add_failure
    named = nameable_images(found, report)
    predictions = predictor.stream(named, score_threshold=score, on_error=report)
    shown = with_progress(predictions, ("labelling", "labelled"), total=len(named))
    content = rename_categories(coco_labels(shown, folder, class_names), renamed)
    _require_images(content["images"], found, folder)
    write_json(path, json_mark("pseudo-label") | content)
    boxes = _count_boxes(content)
    counts = (len(content["images"]), sum(boxes.values()))
    logger.info("%s: %d images, %d boxes at the score threshold %g", path, *counts, score)
    skipped = len(failures.failed)
    if skipped:
        logger.error("%d of %d images are skipped (listed above)", skipped, len(found))
    return PseudoLabels(boxes, skipped)


def _classes(
    predictor: Predictor, class_map: ClassMapArgument | None, *, owner: str
) -> tuple[Sequence[str], dict[str, str]]:
    """Return the teacher's classes, and the new names of some of them."""
    from centernet2.builders.data.class_map import class_map_of, parse_class_map, require_names

    if predictor.class_names is None:
        raise ValueError(f"{owner} has no class names, which annotations need")
    renamed = parse_class_map(class_map_of(class_map) or ())
    require_names(renamed, predictor.class_names, owner)
    return predictor.class_names, renamed


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"--images {printable(folder)} is no folder; give one that holds images")


def _require_images(images: Sequence[dict[str, Any]], found: Sequence[Path], folder: Path) -> None:
    if not images:
        raise ValueError(
            f"{printable(folder)}: no image can be used ({len(found)} are listed above); "
            "nothing is written"
        )


def _count_boxes(content: dict[str, list[dict[str, Any]]]) -> dict[str, int]:
    """Count the boxes of each class, by name."""
    counts = Counter(annotation["category_id"] for annotation in content["annotations"])
    return {category["name"]: counts[category["id"]] for category in content["categories"]}
