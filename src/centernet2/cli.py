"""The command line: parse arguments, call one function, turn a user's mistake into one line and exit code 2."""

import logging
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

EXIT_MISTAKE = 2
DEFAULT_THRESHOLD = 0.3  # of detections that are shown
NOTHING_WRAPS = 130  # columns of a table that goes to a file or a pipe
logger = logging.getLogger(__name__)

app = App(name="centernet2", help="CenterNet2: probabilistic two-stage object detection.", help_format="plaintext")

# KEY VALUE pairs after the options may hold values that look like options: -1
Pairs = Annotated[str, Parameter(allow_leading_hyphen=True, help="options of the configuration: KEY VALUE ...")]
Flag = Annotated[bool, Parameter(negative=())]


@app.command
def train(
    *overrides: Pairs,
    config_file: str = "CenterNet2_R50_1x",
    data: Path | None = None,
    data_path: Path | None = None,
    output_dir: Path | None = None,
    weights: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    resume: Flag = False,
    eval_only: Flag = False,
    num_gpus: int = 1,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str = "auto",
    auto_scale_lr: Flag = False,
    dry_run: Flag = False,
) -> None:
    """Train a detector, evaluate it at the end.

    Parameters
    ----------
    config_file
        Path of a configuration, or the name of a packaged one.
    data
        Folder with images/ and annotations/instances_train.json, instances_val.json.
    data_path
        Folder above a COCO 2017 folder (coco2017/ or coco/).
    output_dir
        Receives checkpoints, config.yaml, metrics.jsonl and the evaluation.
    weights
        File to start from, or zoo:NAME; default: MODEL.WEIGHTS.
    seed
        Seed of all random numbers.
    device
        cuda, npu, xpu, mps or cpu; default: the best there is.
    resume
        Go on from the last checkpoint of the output folder.
    eval_only
        Evaluate MODEL.WEIGHTS (or --weights) and train nothing.
    num_gpus
        Processes on this machine, one for each accelerator (or on the CPU).
    num_machines
        Machines that take part; start the command on each.
    machine_rank
        Number of this machine, from 0.
    dist_url
        HOST:PORT of machine 0; needed with several machines.
    auto_scale_lr
        Scale the learning rate and the schedule when SOLVER.IMS_PER_BATCH is not the one of the configuration file.
    dry_run
        Check settings, data and weights, take one step, print the plan and keep nothing.
    """
    from centernet2 import launch

    if launch.is_wanted(num_gpus=num_gpus, num_machines=num_machines):
        code = launch.launch(
            sys.argv[1:],
            num_gpus=num_gpus,
            num_machines=num_machines,
            machine_rank=machine_rank,
            dist_url=dist_url,
        )
        sys.exit(code)
    from rich import get_console

    from centernet2.config import load_config
    from centernet2.run import evaluation, models, plan, training

    config = load_config(config_file, overrides)
    if eval_only:
        model = models.build_model(config, weights=weights or config.model.weights, device=device)
        _print_metrics(evaluation.evaluate(model, data=data, data_path=data_path, output_dir=output_dir))
        return
    if auto_scale_lr:
        config, changes = plan.scale_to_batch(config, load_config(config_file))
        logger.info("--auto-scale-lr: %s", "; ".join(changes))
    start = training.dry_run if dry_run else training.train
    outcome = start(
        config,
        data=data,
        data_path=data_path,
        output_dir=output_dir,
        weights=weights,
        resume=resume,
        seed=seed,
        device=device,
    )
    if isinstance(outcome, dict):
        _print_metrics(outcome)
    else:
        get_console().print("\n".join(outcome), markup=False, highlight=False)


@app.command(name="eval")
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
    """
    from centernet2.config import load_config
    from centernet2.run import evaluation, models

    places = {"data": data, "data_path": data_path, "output_dir": output_dir, "report": report}
    if predictions is not None and weights is None:
        config = None if config_file is None else load_config(config_file, overrides)
        _print_metrics(evaluation.evaluate_predictions(predictions, config=config, **places))
        return
    if weights is None or predictions is not None:
        raise ValueError("give one thing to evaluate: --weights CHECKPOINT or --predictions FILE")
    if config_file is None:
        model = models.load_model(weights, overrides, device=device)
    else:
        model = models.build_model(load_config(config_file, overrides), weights=weights, device=device)
    _print_metrics(evaluation.evaluate(model, resume=resume, **places))


@app.command
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

    from centernet2.evaluation.tables import differences_table
    from centernet2.run.compare import compare as run_compare

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


@app.command
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

    from centernet2.evaluation.tables import thresholds_table
    from centernet2.run.thresholds import choose_thresholds

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


@app.command
def predict(
    *images: str,
    weights: str,
    output: Path = Path("predictions"),
    config_file: str | None = None,
    score_threshold: float | None = None,
    device: str | None = None,
) -> None:
    """Detect objects: annotated images and predictions.json.

    Parameters
    ----------
    images
        Images, folders and patterns.
    weights
        The checkpoint, or zoo:NAME of a published model; these and ours need no --config-file.
    output
        Folder of the results.
    config_file
        Path or name of the configuration of a checkpoint that carries none.
    score_threshold
        Detections below it are not drawn and not written; default: those that `centernet2 threshold` has stored for
        each class, else 0.3.
    device
        cuda, npu, xpu, mps or cpu; default: the best there is.
    """
    from centernet2.config import load_config
    from centernet2.predictor import Predictor, find_images
    from centernet2.run import models
    from centernet2.visualize import write_predictions

    if config_file is None:
        predictor = models.load_predictor(weights, device=device)
    else:
        predictor = Predictor(models.build_model(load_config(config_file), weights=weights, device=device))
    failed: list[Path] = []

    def report(path: Path, error: Exception) -> None:
        failed.append(path)
        logger.error("%s", error)

    least = score_threshold if score_threshold is not None else predictor.score_thresholds or DEFAULT_THRESHOLD
    found = predictor.predict_files(find_images(images), score_threshold=least, on_error=report)
    count = write_predictions(found, output, class_names=predictor.class_names)
    logger.info("%d images written to %s", count, output)
    if failed:
        raise ValueError(f"{len(failed)} of {count + len(failed)} images could not be read (named above)")


@app.command(name="models")
def list_models(
    name: str | None = None, *, as_json: Annotated[Flag, Parameter(name="--json")] = False, markdown: Flag = False
) -> None:
    """The published models: accuracy, speed, size; --weights zoo:NAME uses one.

    Parameters
    ----------
    name
        Show this one in detail.
    as_json
        Print JSON.
    markdown
        Print the table of the documentation.
    """
    from rich import get_console
    from rich.console import Console

    from centernet2.run.published import show_models

    shown = show_models(name, as_json=as_json, markdown=markdown)
    console = get_console() if get_console().is_terminal else Console(width=NOTHING_WRAPS)
    console.print(shown, markup=False, highlight=False, soft_wrap=isinstance(shown, str))


@app.command(name="config")
def show_config(name: str | None = None, *overrides: Pairs, reference: Flag = False) -> None:
    """Print the resolved settings of a configuration; without a name, the names of the packaged ones.

    Parameters
    ----------
    name
        Path of a configuration, or the name of a packaged one.
    reference
        Print the page on every option instead.
    """
    from centernet2.config import config_names, load_config
    from centernet2.config.page import configuration_page

    if reference:
        print(configuration_page())
    elif name is None:
        print("\n".join(config_names()))
    else:
        print(load_config(name, overrides).to_yaml(), end="")


def _print_metrics(metrics: dict[str, float]) -> None:
    from rich import get_console

    from centernet2.distributed import is_main_process
    from centernet2.evaluation.tables import metrics_table

    if is_main_process():
        get_console().print(metrics_table(metrics))


def main() -> None:
    """Entry point of the command."""
    from rich.logging import RichHandler

    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False, markup=False)])
    try:
        app(exit_on_error=False, print_error=True)
    except CycloptsError:
        sys.exit(EXIT_MISTAKE)
    except (ValueError, FileNotFoundError) as error:
        logger.error("%s", error)
        logger.debug("", exc_info=True)
        sys.exit(EXIT_MISTAKE)
    except Exception as error:
        from centernet2.run.training import TrainingInterrupted
        from centernet2.training.callbacks import EXIT_INTERRUPTED

        if not isinstance(error, TrainingInterrupted):
            raise
        logger.warning("%s", error)
        sys.exit(EXIT_INTERRUPTED)
