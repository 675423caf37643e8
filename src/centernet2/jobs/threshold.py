"""The command `threshold`: choose score thresholds."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from centernet2.jobs import PathArgument, WeightsArgument

if TYPE_CHECKING:
    from centernet2.evaluation import FloatArray, GroundTruth, ThresholdChoice

logger = logging.getLogger(__name__)


def threshold(
    weights: WeightsArgument,
    *,
    precision: float | None = None,
    recall: float | None = None,
    data: PathArgument | None = None,
    data_path: PathArgument | None = None,
    predictions: PathArgument | None = None,
    output: PathArgument | None = None,
    device: str | None = None,
) -> "dict[str, ThresholdChoice]":
    """Choose a score threshold per class and store the thresholds in the checkpoint.

    Precision and recall are measured at IoU 0.5. `predict` uses the thresholds.

    Parameters
    ----------
    weights
        One of our checkpoints.
    precision
        Minimum precision of each class, in 0..1; the lowest threshold that reaches it is chosen.
    recall
        Minimum recall of each class; the highest threshold that reaches it is chosen. Without
        either, F1 is maximized.
    data
        Folder or annotation file in any layout, or the name of a data set.
    data_path
        Folder that contains the named data sets: coco2017/ or coco/, lvis/, objects365/, nuimages/;
        default: $DETECTRON2_DATASETS, then ./datasets. Not with --data.
    predictions
        COCO results file of the checkpoint on these images, if it has already been evaluated.
    output
        File for the new checkpoint; default: overwrite the old one.
    device
        cuda, npu, xpu, mps or cpu; default: MODEL.DEVICE of the config; if this machine does not
        have it, the best available device.
    """
    from centernet2.builders.evaluator import find_validation_data, load_results
    from centernet2.builders.loading import config_of, require_num_classes
    from centernet2.checkpoint.checkpoint import load_checkpoint, update_info

    _require_one_goal(precision, recall)
    info = load_checkpoint(Path(weights)).info
    config = config_of(info)
    dataset = find_validation_data(data, data_path, names=config.datasets.test, masks=False)
    require_num_classes(config, len(dataset.class_names), owner=dataset.name)
    results = load_results(weights if predictions is None else predictions, dataset, device=device)
    thresholds = _choose(dataset, results, precision=precision, recall=recall)
    if not thresholds:
        raise ValueError(
            f"{weights} has no detections on {dataset.name}, so there is no threshold to choose"
        )
    chosen = dict(zip(info.class_names, thresholds, strict=True))
    target = Path(output or weights)
    update_info(
        Path(weights),
        target,
        score_thresholds=tuple(choice.threshold for choice in chosen.values()),
    )
    logger.info("thresholds of %d classes stored in %s", len(chosen), target)
    return chosen


def _require_one_goal(precision: float | None, recall: float | None) -> None:
    if precision is not None and recall is not None:
        raise ValueError(
            "--precision and --recall exclude each other: a threshold trades one for the other"
        )
    for name, value in (("--precision", precision), ("--recall", recall)):
        if value is not None and not 0 < value <= 1:
            raise ValueError(f"{name} is {value}; give a number above 0, up to 1")


def _choose(
    dataset: "GroundTruth", results: "FloatArray", *, precision: float | None, recall: float | None
) -> "list[ThresholdChoice]":
    """Choose a threshold for each class, by label; without detections none."""
    from centernet2.evaluation import (
        best_point,
        choose_threshold,
        class_curves,
        match_detections,
        overall_curve,
    )

    matches = match_detections(dataset, results)
    overall = best_point(overall_curve(matches))
    if overall is None:
        return []
    return [
        choose_threshold(curve, precision=precision, recall=recall, otherwise=overall.threshold)
        for curve in class_curves(matches, len(dataset.class_names))
    ]
