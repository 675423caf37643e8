"""The command `eval`."""

from typing import Annotated

from cyclopts import Parameter

from centernet2.jobs import (
    DEFAULT_INFERENCE,
    ConfigArgument,
    Flag,
    InferenceOptions,
    ModelArgument,
    Overrides,
    PathArgument,
)


def evaluate(
    model: Annotated[ModelArgument | None, Parameter(name="--weights")] = None,
    *overrides: Overrides,
    predictions: PathArgument | None = None,
    config: Annotated[ConfigArgument | None, Parameter(name="--config-file")] = None,
    data: PathArgument | None = None,
    data_path: PathArgument | None = None,
    output_dir: PathArgument | None = None,
    report: PathArgument | None = None,
    resume: Flag = False,
    inference: InferenceOptions = DEFAULT_INFERENCE,
) -> dict[str, float]:
    """Evaluate a checkpoint, or detections that came from anywhere.

    In Python `model` may be a `Detector`, which is evaluated as it is.

    Parameters
    ----------
    model
        The checkpoint, or zoo:NAME of a published model; these and ours need no --config-file.
    predictions
        A COCO results file, in place of a checkpoint.
    config
        Path or name of the config of a checkpoint that carries none.
    data
        Folder or annotation file in any layout, or the name of a data set.
    data_path
        Folder above a COCO 2017 folder.
    output_dir
        Receives predictions.json and metrics.json.
    report
        Folder for a page that shows what is wrong and why, also as JSON and Markdown.
    resume
        Continue the evaluation that was interrupted in the output folder.

    Returns
    -------
    COCO's metrics, {"bbox/AP": per cent, ...}; LVIS's and Pascal VOC's where the data are theirs.
    """
    from centernet2.builders.evaluator import evaluate_detector, evaluate_predictions
    from centernet2.builders.loading import as_config, config_of, load_for_inference
    from centernet2.models.detector import Detector

    places = {"data": data, "data_path": data_path, "output_dir": output_dir, "report": report}
    options = None if config is None else as_config(config).override(overrides)
    if predictions is not None and model is None:
        return evaluate_predictions(predictions, config=options, **places)
    if model is None or predictions is not None:
        raise ValueError("give one thing to evaluate: --weights CHECKPOINT or --predictions FILE")
    if isinstance(model, Detector):
        options = options or config_of(model.info).override(overrides)
        return evaluate_detector(model, options, resume=resume, **places)
    detector = load_for_inference(model, overrides, config=config, **vars(inference))
    return evaluate_detector(detector, config_of(detector.info), resume=resume, **places)
