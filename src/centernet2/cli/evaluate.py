"""The commands that judge detections: `eval`, `compare`, `threshold`."""

from pathlib import Path

from centernet2.cli.arguments import Flag, Pairs, print_metrics


def evaluate(
    *overrides: Pairs,
    weights: str | None = None,
    predictions: Path | None = None,
    config_file: str | None = None,
    data: Path | None = None,
    data_path: Path | None = None,
    output_dir: Path | None = None,
    report: Path | None = None,
    resume: Flag = False,
    device: str | None = None,
    dtype: str = "fp32",
    compile: Flag = False,
) -> None:
    """Evaluate a checkpoint, or detections that came from anywhere.

    Parameters
    ----------
    weights
        The checkpoint, or zoo:NAME of a published model; these and ours need no --config-file.
    predictions
        A COCO results file, in place of a checkpoint.
    config_file
        Path or name of the configuration of a checkpoint that carries none.
    data
        Folder with images/ and annotations/instances_val.json.
    data_path
        Folder above a COCO 2017 folder.
    output_dir
        Receives predictions.json and metrics.json.
    report
        Folder for a page that shows what is wrong and why, and for the same as JSON and Markdown.
    resume
        Go on with the evaluation that was interrupted in the output folder.
    device
        cuda, npu, xpu, mps or cpu; default: the best there is.
    dtype
        fp32, bf16 or fp16: of matrix products and convolutions.
    compile
        Compile the network (torch.compile): slow at the first image of a size, faster from then on.
    """
    from centernet2.builders import loading as models
    from centernet2.config import load_config
    from centernet2.jobs import evaluate as evaluation
    from centernet2.models.optimize import optimize_for_inference

    places = {"data": data, "data_path": data_path, "output_dir": output_dir, "report": report}
    if predictions is not None and weights is None:
        config = None if config_file is None else load_config(config_file, overrides)
        print_metrics(evaluation.evaluate_predictions(predictions, config=config, **places))
        return
    if weights is None or predictions is not None:
        raise ValueError("give one thing to evaluate: --weights CHECKPOINT or --predictions FILE")
    if config_file is None:
        model = models.load_model(weights, overrides, device=device)
    else:
        model = models.build_model(
            load_config(config_file, overrides), weights=weights, device=device
        )
    optimize_for_inference(model, dtype=dtype, compile=compile)
    print_metrics(evaluation.evaluate(model, resume=resume, **places))


def compare(
    first: Path,
    second: Path,
    *,
    data: Path | None = None,
    data_path: Path | None = None,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    output: Path | None = None,
    device: str | None = None,
) -> None:
    """Compare two detectors on the same images: is the difference real?

    Parameters
    ----------
    first
        The output folder of an evaluation or a training, a COCO results file, or a checkpoint.
    second
        The other one.
    data
        Folder with images/ and annotations/instances_val.json.
    data_path
        Folder above a COCO 2017 folder.
    samples
        How often the images are drawn anew.
    confidence
        Share of the draws that lie between the bounds.
    seed
        Seed of the draws.
    output
        JSON file for the figures.
    device
        For checkpoints: cuda, npu, xpu, mps or cpu; default: the best there is.
    """
    from rich import get_console

    from centernet2.jobs.compare import compare as run_compare
    from centernet2.report.tables import differences_table

    differences = run_compare(
        first,
        second,
        data=data,
        data_path=data_path,
        samples=samples,
        confidence=confidence,
        seed=seed,
        output=output,
        device=device,
    )
    get_console().print(differences_table(differences, confidence=confidence))


def threshold(
    weights: Path,
    *,
    precision: float | None = None,
    recall: float | None = None,
    data: Path | None = None,
    data_path: Path | None = None,
    predictions: Path | None = None,
    output: Path | None = None,
    device: str | None = None,
) -> None:
    """Choose a score threshold for each class and store them in the checkpoint, for predict and export.

    Parameters
    ----------
    weights
        The checkpoint, one of ours.
    precision
        What every class should reach, in 0..1; the lowest such threshold is taken.
    recall
        Or this; the highest such threshold is taken. Without either, F1 is made as high as possible.
    data
        Folder with images/ and annotations/instances_val.json.
    data_path
        Folder above a COCO 2017 folder.
    predictions
        COCO results of the checkpoint on these images, where it has been evaluated already.
    output
        Where to write the checkpoint; default: in its place.
    device
        cuda, npu, xpu, mps or cpu; default: the best there is.
    """
    from rich import get_console

    from centernet2.jobs.threshold import choose_thresholds
    from centernet2.report.tables import thresholds_table

    chosen = choose_thresholds(
        weights,
        precision=precision,
        recall=recall,
        data=data,
        data_path=data_path,
        predictions=predictions,
        output=output,
        device=device,
    )
    get_console().print(thresholds_table(chosen))
