"""The command `eval`: evaluate a checkpoint or a results file."""

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
    """Evaluate a checkpoint or a COCO results file.

    In Python, `model` may also be a `Detector`.

    Parameters
    ----------
    model
        A checkpoint, or zoo:NAME of a published model. Our checkpoints need no --config-file.
    predictions
        A COCO results file, instead of a checkpoint.
    config
        Path or name of the config, for weights files without one.
    data
        Folder or annotation file in any layout, or the name of a data set.
    data_path
        Folder that contains the named data sets: coco2017/ or coco/, lvis/, objects365/, nuimages/;
        default: $DETECTRON2_DATASETS, then ./datasets. Not with --data.
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
    from centernet2.builders.evaluator import evaluate_detector, evaluate_predictions
    from centernet2.builders.loading import as_config, config_of, load_for_inference
    from centernet2.models.detector import Detector

    paths = {"data": data, "data_path": data_path, "output_dir": output_dir, "report": report}
    options = None if config is None else as_config(config).override(overrides)
    if predictions is not None and model is None:
        return evaluate_predictions(predictions, config=options, **paths)
    if model is None or predictions is not None:
        raise ValueError("give either --weights CHECKPOINT or --predictions FILE")
    if isinstance(model, Detector):
        options = options or config_of(model.info).override(overrides)
        return evaluate_detector(model, options, resume=resume, **paths)
    detector = load_for_inference(model, overrides, config=config, **vars(inference))
    return evaluate_detector(detector, config_of(detector.info), resume=resume, **paths)
