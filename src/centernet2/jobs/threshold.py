"""The command `threshold`: calibrate scores and choose score thresholds."""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from centernet2.arguments import checked
from centernet2.jobs import ClassMap, DataPath, Device, OptionalData, PathArgument, WeightsArgument
from centernet2.outputs import writable_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from centernet2.builders.evaluation.stored_results import FoundDetections
    from centernet2.checkpoint import Checkpoint
    from centernet2.data import DetectionDataset
    from centernet2.evaluation import CalibrationError, GroundTruth, Scored, ThresholdChoice
    from centernet2.structures import FloatArray, ScoreCalibration

SHOWN_CLASSES = 10
logger = logging.getLogger(__name__)


class Thresholds(NamedTuple):
    """The score threshold of each class, by name, and the calibration of the scores."""

    by_class: "dict[str, ThresholdChoice]"
    errors: "dict[str, CalibrationError]"  # by what is calibrated; empty: nothing is
    skipped: int  # images that could not be used, which are left out


class Found(NamedTuple):
    """Data and the detections on them, both without the images that are skipped."""

    dataset: "DetectionDataset"
    results: "FloatArray"  # [D, 7], scores as the network gives them
    stages: "Sequence[Mapping[str, Any]]"  # the record of each image; empty: none


@checked()
def threshold(
    weights: WeightsArgument,
    *,
    precision: float | None = None,
    recall: float | None = None,
    data: OptionalData = None,
    data_path: DataPath = None,
    class_map: ClassMap = None,
    predictions: PathArgument | None = None,
    output: PathArgument | None = None,
    device: Device = None,
) -> Thresholds:
    """Calibrate scores, choose a threshold per class, store both in the checkpoint.

    Precision and recall are measured at IoU 0.5. `predict` uses calibration and thresholds.

    Parameters
    ----------
    weights
        One of our checkpoints, or the folder of a training run.
    precision
        Minimum precision of each class, in 0..1; the lowest threshold that reaches it is chosen.
    recall
        Minimum recall of each class; the highest threshold that reaches it is chosen. Without
        either, F1 is maximized.
    predictions
        COCO results file of the checkpoint on these images, if it has already been evaluated; its
        scores are not calibrated.
    output
        File for the new checkpoint; default: store the thresholds in the old one.
    """
    from centernet2.builders.data.class_map import class_map_of
    from centernet2.builders.data.evaluation_data import choose_datasets, find_validation_data
    from centernet2.builders.detector.initial_weights import find_checkpoint
    from centernet2.builders.detector.loading import config_of
    from centernet2.checkpoint import load_checkpoint, save_checkpoint

    _require_one_goal(precision, recall)
    weights = find_checkpoint(weights)
    target = _checkpoint_file(Path(output or weights))
    checkpoint = load_checkpoint(weights)
    if output is not None:
        _require_same_weights(target, weights, checkpoint)
    if predictions is not None:
        _require_usable(predictions, checkpoint, weights, device)
    datasets = choose_datasets(config_of(checkpoint.info))
    dataset = find_validation_data(
        data, data_path, datasets, masks=False, class_map=class_map_of(class_map)
    )
    names = checkpoint.info.class_names or dataset.class_names
    found = _load_detections(weights, predictions, dataset, names, device=device)
    calibration, results, errors = _calibrate(found, names)
    by_name = _choose(found.dataset, results, weights, precision=precision, recall=recall)
    chosen = {name: by_name.get(name, by_name[""]) for name in names}
    stored = tuple(choice.threshold for choice in chosen.values())
    info = replace(checkpoint.info, score_thresholds=stored, calibration=calibration)
    save_checkpoint(target, replace(checkpoint, info=info))
    logger.info("thresholds of %d classes stored in %s", len(chosen), target)
    _name_doubtful(chosen)
    return Thresholds(chosen, errors, len(dataset) - len(found.dataset))


def _checkpoint_file(path: Path) -> Path:
    """Return the path of the checkpoint; ValueError if it would not be read as one."""
    from centernet2.checkpoint import is_readable_name

    if not is_readable_name(writable_file(path)):
        raise ValueError(f"--output {path} has no name of a checkpoint; let it end in .pth")
    return path


def _calibrate(
    found: Found, names: "Sequence[str]"
) -> "tuple[ScoreCalibration | None, FloatArray, dict[str, CalibrationError]]":
    """Fit a calibration of the detector's classes.

    Returns:
        The calibration, the results with calibrated scores, and the errors before and after.
    """
    import numpy as np

    from centernet2.evaluation import (
        calibrate_labels,
        calibration_errors,
        fit_calibration,
        observe,
        with_unknown,
    )

    dataset, results, stages = found
    if not stages or not len(results):
        logger.info("scores are not calibrated, for which both probabilities must be known")
        return None, results, {}
    observed = observe(dataset, results, stages)
    count = len(dataset.class_names)
    fitted = fit_calibration(observed, count + 1)  # the last one is for classes without data
    rows = [dataset.class_names.index(n) if n in dataset.class_names else count for n in names]
    scores = calibrate_labels(fitted, results[:, 5], results[:, 6].astype(np.int64))
    calibrated = np.column_stack([results[:, :5], scores, results[:, 6]])
    calibration = replace(
        fitted,
        temperatures=tuple(fitted.temperatures[row] for row in rows),
        offsets=tuple(fitted.offsets[row] for row in rows),
    )
    calibration = with_unknown(calibration, stages, int((~dataset.crowd).sum()))
    return calibration, calibrated, calibration_errors(observed, count)


def _require_same_weights(target: Path, weights: Path, checkpoint: "Checkpoint") -> None:
    """Raise ValueError if --output would replace more than a checkpoint's thresholds."""
    from centernet2.checkpoint import load_equal

    if not target.exists() or target.samefile(weights):
        return
    if not load_equal(target, checkpoint.weights, resumable=checkpoint.training is not None):
        raise ValueError(
            f"--output {target} exists and is not a copy of {weights}, which would replace it; "
            "give another path, or move the file away"
        )


def _load_detections(
    weights: Path,
    predictions: PathArgument | None,
    dataset: "DetectionDataset",
    names: "Sequence[str]",
    *,
    device: str | None,
) -> Found:
    """Run the checkpoint on the data, or read its results."""
    from centernet2.builders.evaluation.evaluator import score_uncalibrated
    from centernet2.evaluation import without_images

    found: Scored | FoundDetections
    if predictions is None:
        found = score_uncalibrated(weights, dataset, device=device)
    else:
        found = _read_predictions(Path(predictions), dataset, names, owner=str(weights))
    skipped = [*found.skipped]
    if skipped:
        logger.warning("%d of %d images are skipped and left out", len(skipped), len(dataset))
    stages = () if predictions is not None else found.stages or ()
    return Found(*without_images(dataset, found.results, skipped), stages)


def _read_predictions(
    path: Path, dataset: "DetectionDataset", names: "Sequence[str]", *, owner: str
) -> "FoundDetections":
    """Read a results file, and log classes that detector and data do not share.

    Without a results file, the evaluation of the detector says it.
    """
    from centernet2.builders.data.class_matching import match_classes
    from centernet2.builders.evaluation.stored_results import read_detections

    for note in match_classes(names, dataset, owner=owner).notes:
        logger.warning("%s", note)
    return read_detections(path, dataset)


def _require_usable(
    predictions: PathArgument, checkpoint: "Checkpoint", weights: Path, device: str | None
) -> None:
    """Raise ValueError if results cannot stand for a checkpoint's detections."""
    if device is not None:
        raise ValueError("--predictions runs no detector: --device would have no effect")
    if checkpoint.info.calibration is not None:
        raise ValueError(
            f"{weights} has calibrated scores, and {predictions} may hold those of before; leave "
            "--predictions out"
        )


def _require_one_goal(precision: float | None, recall: float | None) -> None:
    if precision is not None and recall is not None:
        raise ValueError(
            "--precision and --recall exclude each other: a threshold trades one for the other"
        )
    for name, value in (("--precision", precision), ("--recall", recall)):
        if value is not None and not 0 < value <= 1:
            raise ValueError(f"{name} is {value:g}; give a number above 0, up to 1: 0.9 is 90 %")


def _name_doubtful(chosen: "dict[str, ThresholdChoice]") -> None:
    """Log the classes that miss their goal, or that have no right detection."""
    missed = [name for name, choice in chosen.items() if choice.point and not choice.reached]
    if missed:
        logger.warning(
            "%s is not reached by %d of %d classes, whose nearest threshold is stored: %s",
            chosen[missed[0]].goal, len(missed), len(chosen), ", ".join(missed[:SHOWN_CLASSES]),
        )  # fmt: skip
    wrong = [name for name, c in chosen.items() if c.point and c.reached and not c.point.f1]
    if wrong:
        logger.warning(
            "%d of %d classes have no right detection at IoU 0.5, so their thresholds say nothing: "
            "%s", len(wrong), len(chosen), ", ".join(wrong[:SHOWN_CLASSES]),
        )  # fmt: skip


def _choose(
    dataset: "GroundTruth",
    results: "FloatArray",
    owner: Path,
    *,
    precision: float | None,
    recall: float | None,
) -> "dict[str, ThresholdChoice]":
    """Choose a threshold for each class of the data, and "" for others."""
    from centernet2.evaluation import (
        ThresholdChoice,
        best_point,
        choose_threshold,
        class_curves,
        match_detections,
        overall_curve,
    )

    matches = match_detections(dataset, results)
    overall = best_point(overall_curve(matches))
    if overall is None:
        raise ValueError(
            f"{owner} has no detections on {dataset.name}, so there is no threshold to choose"
        )
    choose = partial(
        choose_threshold, precision=precision, recall=recall, otherwise=overall.threshold
    )
    curves = class_curves(matches, len(dataset.class_names))
    by_name = dict(zip(dataset.class_names, map(choose, curves), strict=True))
    return {**by_name, "": ThresholdChoice(None, overall.threshold)}
