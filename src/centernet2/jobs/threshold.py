"""A score threshold for each class, chosen on validation images and stored in the checkpoint."""

import logging
from pathlib import Path

from centernet2.builders.loading import StrPath, config_of, with_classes
from centernet2.checkpoint.save import load_checkpoint, update_info
from centernet2.config import Config
from centernet2.evaluation.curves import (
    ThresholdChoice,
    best_point,
    choose_threshold,
    class_curves,
    overall_curve,
)
from centernet2.evaluation.matching import match_detections
from centernet2.jobs.compare import results_from
from centernet2.jobs.evaluate import find_data

logger = logging.getLogger(__name__)


def choose_thresholds(
    weights: StrPath,
    *,
    precision: float | None = None,
    recall: float | None = None,
    data: StrPath | None = None,
    data_path: StrPath | None = None,
    predictions: StrPath | None = None,
    output: StrPath | None = None,
    device: str | None = None,
) -> dict[str, ThresholdChoice]:
    """Chooses a threshold for each class, at an overlap of 0.5, and stores them in the checkpoint.

    Args:
        weights: one of our checkpoints.
        precision: wanted of each class, in 0..1; the lowest threshold that gives it is taken.
        recall: or this; the highest threshold that gives it is taken. Without either, F1 is made as high as possible.
        data, data_path: as for `evaluate`.
        predictions: COCO results of the checkpoint, where it has been evaluated already.
        output: where to write the checkpoint; default: in its place.
        device: to evaluate on.
    """
    if precision is not None and recall is not None:
        raise ValueError(
            "--precision and --recall exclude each other: a threshold trades one for the other"
        )
    for name, value in (("--precision", precision), ("--recall", recall)):
        if value is not None and not 0 < value <= 1:
            raise ValueError(f"{name} is {value}; give a share above 0, up to 1")
    config, class_names = _outline(Path(weights))
    dataset = find_data(data, data_path, names=config.datasets.test, masks=False)
    with_classes(config, len(dataset.class_names), owner=dataset.name)
    results = results_from(weights if predictions is None else predictions, dataset, device=device)

    matches = match_detections(dataset, results)
    curves = class_curves(matches, len(dataset.class_names))
    overall = best_point(overall_curve(matches))
    if overall is None:
        raise ValueError(
            f"{weights} finds nothing in {dataset.name}: there is no threshold to choose"
        )
    chosen = {
        name: choose_threshold(
            curve, precision=precision, recall=recall, otherwise=overall.threshold
        )
        for name, curve in zip(class_names, curves, strict=True)
    }
    target = Path(output or weights)
    update_info(
        Path(weights),
        target,
        score_thresholds=tuple(choice.threshold for choice in chosen.values()),
    )
    logger.info("thresholds of %d classes stored in %s", len(chosen), target)
    return chosen


def _outline(path: Path) -> tuple[Config, tuple[str, ...]]:
    """Settings and class names of a checkpoint."""
    info = load_checkpoint(path).info
    return config_of(info), info.class_names
