"""The command `eval`: evaluate a checkpoint or a results file."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from centernet2.arguments import checked
from centernet2.jobs import (
    DEFAULT_INFERENCE,
    ClassMap,
    ConfigArgument,
    DataPath,
    Flag,
    InferenceOptions,
    ModelArgument,
    OptionalData,
    OverridePairs,
    PathArgument,
    split_data,
)
from centernet2.option_groups import DATA
from centernet2.outputs import writable_folder

if TYPE_CHECKING:
    from centernet2.config import Config
    from centernet2.models.detector import Detector

PAGES = ("report.html", "report.json", "report.md")
RESULTS = ("predictions.json", "speed.json", "stages.json")  # of a detector
METRICS = ("metrics.json", "notes.json", "skipped.json")


@Parameter(name="*", group=DATA)
@dataclass(frozen=True)
class ClassMatching:
    """Classes of the data that the detector names differently or does not know.

    Parameters
    ----------
    known_classes_only
        Leave out the classes of the data that the detector does not know; without it, their objects
        count as missed.
    """

    class_map: ClassMap = None
    known_classes_only: Flag = False


DEFAULT_MATCHING = ClassMatching()


@checked()
def evaluate(
    model: Annotated[ModelArgument | None, Parameter(name="--weights")] = None,
    *overrides: OverridePairs,
    predictions: PathArgument | None = None,
    config: Annotated[ConfigArgument | None, Parameter(name="--config-file")] = None,
    data: OptionalData = None,
    data_path: DataPath = None,
    output_dir: PathArgument | None = None,
    report: PathArgument | None = None,
    resume: Flag = False,
    classes: ClassMatching = DEFAULT_MATCHING,
    inference: InferenceOptions = DEFAULT_INFERENCE,
) -> dict[str, float]:
    """Evaluate a checkpoint or a COCO results file.

    In Python, `model` may also be a `Detector`, or a `Predictor`, whose detector is evaluated.

    Parameters
    ----------
    model
        A checkpoint, the folder of a training run, or zoo:NAME of a published model. Our
        checkpoints need no --config-file.
    predictions
        A COCO results file, or the folder of an evaluation, instead of a checkpoint. Of the KEY
        VALUE pairs, it takes those of DATASETS.
    config
        Path or name of the config, for weights files without one; for --predictions, default:
        config.yaml of the training run whose folder holds the file.
    output_dir
        Folder for predictions.json, metrics.json and speed.json; default: the folder of --report,
        else nothing is written.
    report
        Folder for a page with an analysis of the errors, also as JSON and Markdown.
    resume
        Continue an interrupted evaluation in the output folder.

    Returns
    -------
    COCO metrics in percent, {"bbox/AP": ..., ...}; for LVIS and Pascal VOC data, their metrics.
    """
    from centernet2 import distributed
    from centernet2.builders.data.class_map import class_map_of
    from centernet2.builders.detector.loading import as_config
    from centernet2.builders.evaluation.evaluator import evaluate_detector, evaluate_predictions

    data, words = split_data(overrides, data, command="eval")
    _require_folders(output_dir, report, METRICS if model is None else (*METRICS, *RESULTS))
    given = None if config is None else as_config(config)
    shared: dict[str, Any] = {
        "data": data, "data_path": data_path, "output_dir": output_dir, "report": report,
        "class_map": class_map_of(classes.class_map, words),
    }  # fmt: skip
    if predictions is not None and model is None:
        _refuse_for_results(resume, classes.known_classes_only, inference)
        options = _options_for_results(predictions, given, words)
        return evaluate_predictions(predictions, config=options, **shared)
    if model is None or predictions is not None:
        raise ValueError("give either --weights CHECKPOINT or --predictions FILE")
    detector, options = _load(model, words, given, inference)
    shared["known_classes_only"] = classes.known_classes_only
    with distributed.closing_process_group():
        return evaluate_detector(detector, options, resume=resume, **shared)


def _require_folders(
    output_dir: PathArgument | None, report: PathArgument | None, results: Sequence[str]
) -> None:
    """Raise ValueError if a folder cannot receive its files.

    Without --output-dir, --report receives the files of both.
    """
    if output_dir is not None:
        writable_folder(Path(output_dir), "--output-dir", command="eval", files=results)
    if report is not None:
        files = PAGES if output_dir is not None else (*PAGES, *results)
        writable_folder(Path(report), "--report", command="eval", files=files)


def _load(
    model: ModelArgument, words: Sequence[Any], config: "Config | None", inference: InferenceOptions
) -> tuple["Detector", "Config"]:
    """Return a detector, and the options for its evaluation."""
    from centernet2.builders.detector.loading import config_of, load_for_inference
    from centernet2.builders.evaluation.evaluator import detector_of

    if isinstance(model, str | os.PathLike):
        detector = load_for_inference(model, words, config=config, **vars(inference))
        return detector, config_of(detector.info)
    _refuse("a Detector is evaluated as it is", _changed(inference))
    detector = detector_of(model)
    return detector, (config or config_of(detector.info)).override(words)


def _refuse_for_results(resume: bool, known_only: bool, inference: InferenceOptions) -> None:
    """Refuse the options of a detector beside --predictions."""
    flags = {"--resume": resume, "--known-classes-only": known_only}
    others = [flag for flag, is_given in flags.items() if is_given]
    _refuse("--predictions runs no detector", [*others, *_changed(inference)])


def _options_for_results(
    predictions: PathArgument, config: "Config | None", overrides: Sequence[Any]
) -> "Config":
    """Return the options for a results file; overrides of DATASETS alone are allowed."""
    from centernet2.builders.data.evaluation_data import COCO_CONFIG
    from centernet2.builders.evaluation.stored_results import config_of_results
    from centernet2.config import parse_pairs

    options = (config or config_of_results(predictions) or COCO_CONFIG).override(overrides)
    others = [key for key in parse_pairs(overrides) if not key.startswith("DATASETS.")]
    _refuse("--predictions runs no detector", others)
    return options


def _changed(inference: InferenceOptions) -> list[str]:
    """Return the options of inference that are set."""
    default = vars(DEFAULT_INFERENCE)
    return [f"--{name}" for name, value in vars(inference).items() if value != default[name]]


def _refuse(reason: str, options: Sequence[str]) -> None:
    """Raise ValueError for options that would have no effect."""
    if options:
        raise ValueError(f"{reason}: {', '.join(options)} would have no effect; leave that out")
