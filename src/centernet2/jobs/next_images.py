"""The command `next`: choose the images to label next, and suggest their labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast
from urllib.parse import quote

from cyclopts import Parameter

from centernet2.arguments import checked
from centernet2.files import printable, write_atomic, write_json
from centernet2.jobs import Device, OverridePairs, PathArgument, WeightsArgument
from centernet2.outputs import json_mark, mark_of, writable_folder
from centernet2.ranges import at_least

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from centernet2.predict.image_choice import ChosenImage, UncertainObjects
    from centernet2.predict.prediction import Prediction
    from centernet2.predict.predictor import Predictor

LIST, REASONS, COCO = "images.txt", "images.json", "coco.json"
TASKS, LABEL_CONFIG = "label_studio.json", "label_config.xml"
SHEETS = "images"  # images_1.jpg and so on
FILES = (LIST, REASONS, COCO, TASKS, LABEL_CONFIG, f"{SHEETS}_1.jpg")
LOCAL_FILES = "/data/local-files/?d="  # of Label Studio, before a path below its document root
logger = logging.getLogger(__name__)


class NextImages(NamedTuple):
    """The images to label next."""

    chosen: list[tuple[Path, str]]  # file and reason, the most informative first
    skipped: int  # images that cannot be read or named


class SeenImages(NamedTuple):
    """What the detector sees in the images of a pool."""

    predictions: list[Prediction]  # detections that are shown, without pixels
    objects: list[UncertainObjects]
    skipped: int


@checked(count=at_least(1))
def next_images(
    pool: Annotated[PathArgument, Parameter(help="Folder of images without labels.")],
    *overrides: OverridePairs,
    weights: WeightsArgument,
    count: int = 50,
    output: PathArgument | None = None,
    device: Device = None,
) -> NextImages:
    """Choose the images to label next, and label them as far as possible.

    They have objects of unclear class or near the score threshold, and cover all kinds of them.

    Parameters
    ----------
    weights
        A two-stage detector: a checkpoint, or the folder of its training run.
    count
        Number of images.
    output
        Folder for the list, its reasons, sheets of pictures, and labels to correct: coco.json
        (CVAT), label_studio.json and label_config.xml; default: next_POOL.

    Returns
    -------
    The images with the reason for each, the most informative first.
    """
    from centernet2.builders.detector.predictor_loading import load_predictor
    from centernet2.predict.image_choice import choose_images
    from centernet2.predict.sources import find_images
    from centernet2.report.sheets import write_sheets

    folder = Path(pool)
    target = Path(output or f"next_{folder.resolve().name}")
    writable_folder(target, "--output", command="next", files=FILES)
    if not folder.is_dir():
        raise ValueError(f"POOL {printable(folder)} is no folder; give one that holds images")
    found = find_images([folder])
    predictor = load_predictor(weights, overrides, device=device)
    if predictor.class_names is None:
        raise ValueError(f"{weights} has no class names, which labels need")
    seen = _look_at(predictor, found)
    if not seen.predictions:
        raise ValueError(f"{printable(folder)}: no image can be read; nothing is written")
    chosen = list(choose_images(seen.objects, count))
    predictions = [seen.predictions[each.image] for each in chosen]
    _write_lists(target, chosen, predictions)
    _write_labels(target, predictions, folder, predictor.class_names)
    pictures = ((_draw(p), each.reason) for p, each in zip(predictions, chosen, strict=True))
    sheets = write_sheets(pictures, target, SHEETS)
    logger.info("%s: %d of %d images; %s ...", target, len(chosen), len(found), sheets[0])
    paths = [each.path or folder for each in predictions]
    return NextImages(
        [(path, each.reason) for path, each in zip(paths, chosen, strict=True)], seen.skipped
    )


def _look_at(predictor: Predictor, found: Sequence[Path]) -> SeenImages:
    """Detect objects in images, and keep what the choice and the labels need."""
    from centernet2.predict.image_choice import uncertain_objects
    from centernet2.predict.read_sources import FailureList, read_sources
    from centernet2.predict.sources import nameable_images
    from centernet2.progress import with_progress
    from centernet2.score_thresholds import above_threshold

    failures = FailureList()
    report = failures.add_failure
    threshold = predictor.shown_threshold(None)
    named = nameable_images(found, report)
    images = with_progress(
        read_sources(named, report), ("looking at", "looked at"), total=len(named)
    )
    predictions, objects = [], []
    for image in images:
        prediction = cast("Prediction", predictor.embed(image.image))
        objects.append(uncertain_objects(prediction, threshold))
        scores: NDArray[Any] = prediction.scores
        shown = prediction[above_threshold(scores, prediction.labels, threshold)]
        masks = {name: shown.columns[name] for name in shown.columns if name == "box_masks"}
        predictions.append(replace(shown, path=image.path, pixels=None, columns=masks))
    return SeenImages(predictions, objects, len(failures.failed))


def _draw(prediction: Prediction) -> Any:
    import numpy as np

    return np.array(prediction.plot())


def _write_lists(
    target: Path, chosen: Sequence[ChosenImage], predictions: Sequence[Prediction]
) -> None:
    """Write the paths, for other commands, and the reasons."""
    paths = [str(each.path) for each in predictions]
    write_atomic(target / LIST, "\n".join([f"# {mark_of('next')}", *paths, ""]))
    rows = [
        {"file": path, "gain": round(each.gain, 6), "reason": each.reason}
        for path, each in zip(paths, chosen, strict=True)
    ]
    write_json(target / REASONS, json_mark("next") | {"images": rows}, indent=1)


def _write_labels(
    target: Path, predictions: Sequence[Prediction], pool: Path, class_names: Sequence[str]
) -> None:
    """Write detections as COCO annotations and as tasks of Label Studio."""
    from centernet2.predict.conversions import coco_labels
    from centernet2.predict.label_regions import config_for, label_config, label_regions

    coco = coco_labels(predictions, pool, class_names)
    write_json(target / COCO, json_mark("next") | coco)
    config = config_for(class_names, masks=any(each.has_masks for each in predictions))
    tasks = [
        {
            "data": {config.key: LOCAL_FILES + quote(record["file_name"])},
            "predictions": [label_regions(prediction, config, "centernet2")],
        }
        for prediction, record in zip(predictions, coco["images"], strict=True)
    ]
    write_json(target / TASKS, tasks, indent=1)
    write_atomic(target / LABEL_CONFIG, f"<!-- {mark_of('next')} -->\n{label_config(config)}")
