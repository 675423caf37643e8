"""The command `train`: train a detector."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from centernet2.jobs import (
    ClassMap,
    ConfigArgument,
    DataPath,
    Device,
    Flag,
    InferenceOptions,
    OptionalData,
    OverridePairs,
    PathArgument,
    WeightsArgument,
    split_data,
)
from centernet2.jobs.evaluate import ClassMatching, evaluate

if TYPE_CHECKING:
    from pathlib import Path

    from centernet2.builders.train_command import TrainCommand
    from centernet2.builders.training_run import TrainingRun
    from centernet2.config import Config
    from centernet2.data import DetectionDataset
    from centernet2.models.detector import Detector
    from centernet2.training.callbacks import PeriodicCheckpoint, PeriodicEvaluation
    from centernet2.training.step import Callback, FinishedStep

logger = logging.getLogger(__name__)

DEFAULT_CONFIG_NAME = "CenterNet2_R50_1x"
NONFINITE_LIMIT = 20  # consecutive skipped steps that end a training run


class TrainingInterrupted(Exception):
    """A signal has stopped training; `resume` continues from the last checkpoint."""


class TrainedWithoutEvaluation(Exception):
    """All steps are done and `checkpoint` is written, but the last evaluation has failed."""

    def __init__(self, checkpoint: Path, error: Exception) -> None:
        super().__init__(
            f"training is done and {checkpoint} is written, but its evaluation failed "
            f"({type(error).__name__}: {error}); 'centernet2 eval --weights {checkpoint}' or "
            "--resume repeats it"
        )
        self.checkpoint = checkpoint


@Parameter(name="*")
@dataclass(frozen=True)
class TrainMode:
    """Variants of a training run.

    Parameters
    ----------
    val_fraction
        Fraction of the images to evaluate on, if the data have no validation split.
    auto_scale_lr
        Scale the learning rate and the schedule if SOLVER.IMS_PER_BATCH differs from the config
        file.
    dry_run
        Check config, data and weights, take one step, print the plan and write nothing.
    eval_only
        Evaluate the weights without training; write detections and metrics to the output folder.
    """

    val_fraction: float | None = None
    class_map: ClassMap = None
    auto_scale_lr: Flag = False
    dry_run: Flag = False
    eval_only: Flag = False

    @property
    def is_resumable(self) -> bool:
        """Whether an interrupted command can be continued with --resume."""
        return not (self.dry_run or self.eval_only)


DEFAULT_MODE = TrainMode()


def train(
    config: Annotated[ConfigArgument | None, Parameter(name="--config-file")] = None,
    *overrides: OverridePairs,
    data: OptionalData = None,
    data_path: DataPath = None,
    output_dir: PathArgument | None = None,
    weights: WeightsArgument | None = None,
    resume: Flag = False,
    seed: int | None = None,
    device: Device = None,
    mode: TrainMode = DEFAULT_MODE,
) -> dict[str, float] | list[str]:
    """Train a detector and evaluate it at the end.

    Parameters
    ----------
    config
        Path of a config, or the name of a packaged one; default: CenterNet2_R50_1x.
    output_dir
        Folder for checkpoints, config.yaml, metrics.jsonl and the evaluation; default: OUTPUT_DIR.
    weights
        Initial weights: a file or zoo:NAME; default: MODEL.WEIGHTS. If that is a detectron2://...
        address whose file is not in the cache, training starts from scratch.
    resume
        Continue from the last checkpoint of the output folder, with the data and the options that
        the run was started with where this command gives no others.
    seed
        Random seed; default: SEED or, if it is negative, that of the run to resume, or any.

    Returns
    -------
    Metrics of the last evaluation in percent, {"bbox/AP": ..., ...}; for a dry run, its plan.
    """
    from centernet2 import distributed
    from centernet2.builders.loading import as_config
    from centernet2.builders.plan import choose_output_folder
    from centernet2.builders.train_command import given_command, previous_command

    if mode.dry_run and mode.eval_only:
        raise ValueError("give either --dry-run or --eval-only: a dry run is one of training")
    data, words = split_data(overrides, data, command="train")
    values = _given_values(words, mode, seed)
    file = as_config(DEFAULT_CONFIG_NAME if config is None else config)
    output = choose_output_folder(file.replace(values), output_dir)
    previous = previous_command(output) if resume else None
    if previous is not None and config is None:
        file = previous.file_config
    command = given_command(
        file, values, data=data, data_path=data_path, weights=weights, device=device
    )
    with distributed.closing_process_group():
        if mode.eval_only:
            return _evaluate(command, previous, output, config=config, mode=mode, resume=resume)
        if previous is not None:
            command = command.after(previous)
        if mode.auto_scale_lr:
            command = _scaled(command, previous)
        run = _set_up(command, previous, output, resume=resume)
        return _dry_run(run) if mode.dry_run else _run(run)


def _evaluate(
    command: TrainCommand,
    previous: TrainCommand | None,
    output: Path,
    *,
    config: ConfigArgument | None,
    mode: TrainMode,
    resume: bool,
) -> dict[str, float]:
    """Evaluate weights as the command `eval` does, with the options of their checkpoint.

    Args:
        command: what is given.
        previous: of the run to resume, whose data and weights stand in for those not given.
        output: folder for the results.
        config: as given; None: that of the checkpoint.
        mode: holds the map of class names.
        resume: continue an interrupted evaluation in `output`.
    """
    weights = command.weights or command.overrides.get("MODEL.WEIGHTS")
    if config is not None:
        weights = weights or command.config.model.weights
    if previous is not None:
        command, weights = command.with_paths_of(previous), weights or output
    if not weights:
        raise ValueError("--eval-only evaluates weights, and none are given; add --weights FILE")
    return evaluate(
        weights,
        command.overrides,
        config=config,
        data=command.data,
        data_path=command.data_path,
        output_dir=output,
        resume=resume,
        classes=ClassMatching(class_map=mode.class_map),
        inference=InferenceOptions(device=command.device),
    )


def _scaled(command: TrainCommand, previous: TrainCommand | None) -> TrainCommand:
    """Scale learning rate and schedule to the batch size of a command."""
    from centernet2.builders.plan import scale_to_batch

    before = None if previous is None else previous.config
    options = command.config
    scaled, changes = scale_to_batch(options, command.file_config, before=before)
    logger.info("--auto-scale-lr: %s", "; ".join(changes))
    values = {key: scaled[key] for key in scaled.changed_from(options)}
    return replace(command, overrides={**command.overrides, **values})


def _given_values(words: Sequence[Any], mode: TrainMode, seed: int | None) -> dict[str, Any]:
    """Return the values of the overrides, of the mode and of the seed, by key."""
    from centernet2.builders.class_map import CLASS_MAP_KEY, class_map_of
    from centernet2.config import parse_pairs

    given = {
        "DATASETS.VAL_FRACTION": mode.val_fraction,
        CLASS_MAP_KEY: class_map_of(mode.class_map),
        "SEED": seed,
    }
    return parse_pairs(words) | {key: value for key, value in given.items() if value is not None}


def _set_up(
    command: TrainCommand, previous: TrainCommand | None, output: Path, *, resume: bool
) -> TrainingRun:
    """Build all parts of a training run, in order.

    Args:
        command: what is given, with what the run to resume was started with.
        previous: the latter alone; None: there is none.
        output: output folder.
        resume: continue from the last checkpoint, if there is one.
    """
    import torch

    from centernet2.builders.loading import device_for
    from centernet2.builders.parallel import prepare_for_training
    from centernet2.builders.plan import choose_seed, find_training_data, fit_to_data
    from centernet2.builders.solver import build_run_state, choose_precision
    from centernet2.builders.training_run import TrainingRun
    from centernet2.builders.training_start import (
        Resume,
        choose_start,
        fit_to_start,
        in_classes_of,
        load_start,
        same_seed,
    )
    from centernet2.devices import create_accelerator

    given = command.config
    train_set, val_set = find_training_data(given, command.data, command.data_path)
    accelerator = create_accelerator(
        device_for(given, command.device),
        find_unused_parameters=given.model.backbone == "timm",  # some timm networks have them
    )
    start = choose_start(given, output, weights=command.weights, resume=resume)
    train_set = in_classes_of(start, train_set)
    train_set = _check_images(train_set, val_set if given.run.eval_period >= 0 else None)
    command = command.with_val_images(val_set, resumed=isinstance(start, Resume))
    config = choose_seed(fit_to_start(fit_to_data(given, train_set), start))
    torch.manual_seed(config.run.seed)
    model = _build_model(config, train_set)
    load_start(
        model, config, start, changes=command.changes_from(previous) if previous is not None else ()
    )

    # A resumed run has loaded the weights above. Once they are on their device, it restores the
    # state of optimizer, schedule, loss scaler, averaged weights, best result and random numbers.
    # The order of the data depends only on seed and step.
    prepared = prepare_for_training(config, model, accelerator)
    precision = choose_precision(accelerator.device, amp=config.run.amp, dtype=config.run.amp_dtype)
    state = build_run_state(config, model, accelerator.device, precision, output=output)
    if model.roi_heads is not None:
        model.roi_heads.generator = state.generator
    if isinstance(start, Resume):
        state.restore(start.training, same_seed=same_seed(config, start))
    return TrainingRun(
        command=command,
        config=config,
        train_set=train_set,
        val_set=val_set,
        accelerator=accelerator,
        model=model,
        prepared=prepared,
        precision=precision,
        state=state,
    )


def _build_model(config: Config, train_set: DetectionDataset) -> Detector:
    """Build a detector of the classes of the training data."""
    from centernet2.builders.network import build_detector
    from centernet2.data import images_per_class

    counts = images_per_class(train_set.labels, train_set.offsets, len(train_set.class_names))
    model = build_detector(config, image_counts=counts)
    model.info = replace(model.info, class_names=train_set.class_names)
    return model


def _check_images(
    train_set: DetectionDataset, val_set: DetectionDataset | None
) -> DetectionDataset:
    """Check the image files of both sets; mark the training images that cannot be used.

    Evaluations read broken validation images again, and skip them.
    """
    from centernet2.data import check_before_training

    train_set = replace(train_set, unusable=check_before_training(train_set, "train"))
    if val_set is not None:
        check_before_training(val_set, "val")
        if val_set.crowd.all():
            logger.warning("%s: no image has an object, so there is no AP to compute", val_set.name)
    return train_set


def _dry_run(run: TrainingRun) -> list[str]:
    """Take one step without writing anything; return the plan as lines of text."""
    from centernet2.devices import peak_memory

    steps: list[FinishedStep] = []
    run.loop(run.batches(drawn=False), [steps.append], max_iteration=run.state.iteration + 1)
    losses = ", ".join(f"{name} {loss.item():.4g}" for name, loss in steps[0].losses.items())
    device = run.accelerator.device
    memory = peak_memory(device) / 2**30
    return [
        *run.plan(),
        f"one step on {device} in {run.precision}: {losses}",
        f"memory of that step: {memory:.2f} GiB (larger images of the data need more)",
    ]


def _run(run: TrainingRun) -> dict[str, float]:
    """Train to the end with all callbacks; return the last metrics."""
    from centernet2.training.callbacks import PeriodicCheckpoint, PeriodicEvaluation, StopOnSignal
    from centernet2.training.nonfinite import NonFiniteGuard
    from centernet2.training.slow_steps import SlowSteps
    from centernet2.training.writers import MetricsLogger, ProgressBar

    state, options, last = run.state, run.config.run, run.max_iteration
    start, period, output = state.iteration, options.log_period, state.output
    for line in run.plan():
        logger.info("%s", line)
    run.prepare_folder()
    stop = StopOnSignal(period=period)
    checkpoint = PeriodicCheckpoint(
        state.save,
        period=options.checkpoint_period,
        minutes=options.checkpoint_minutes,
        agree_period=period,
        keep=options.checkpoints_kept,
    )
    evaluate = partial(run.evaluate, lambda: stop.received)
    with (
        run.open_writers() as writers,
        stop,
        ProgressBar(start_iteration=start, max_iteration=last) as bar,
    ):
        evaluation = PeriodicEvaluation(
            evaluate,
            writers=writers,
            period=options.eval_period,
            review=partial(_review, run, checkpoint),
        )
        callbacks: list[Callback] = [
            stop,
            *([] if state.average is None else [state.average]),
            MetricsLogger([*writers, bar], period=period, device=run.accelerator.device),
            bar,
            SlowSteps(),
            NonFiniteGuard(output / "nonfinite.jsonl", limit=NONFINITE_LIMIT, period=period),
            checkpoint,  # before the evaluation, which may fail
            lambda _: _save_if_done(run),
            evaluation,
        ]
        _save_if_done(run)  # a resumed run may have no steps left
        if not _catch_up(run, evaluation):
            run.loop(run.batches(drawn=True), callbacks, max_iteration=last)
        # A resumed run may have had no evaluation left either.
        has_evaluated = evaluation.results or evaluation.failure
        if not has_evaluated and options.eval_period >= 0 and not stop.agree():
            evaluation.repeat(state.iteration)
        if stop.agree():
            if checkpoint.saved_iteration != state.iteration:  # the signal came in an evaluation
                checkpoint.save_now(state.iteration)
            raise TrainingInterrupted(
                f"training was interrupted; --resume continues from the last checkpoint in {output}"
            )
    return _finish(run, evaluation)


def _finish(run: TrainingRun, evaluation: PeriodicEvaluation) -> dict[str, float]:
    """Write model_final.pth with the last metrics, and return these."""
    from centernet2.training.callbacks import EXPECTED_ERRORS

    state, path = run.state, run.state.output / "model_final.pth"
    is_saved = state.iteration >= run.max_iteration  # by `_save_if_done`
    if evaluation.failure is not None:
        if not is_saved:
            state.save_final({})
        raise TrainedWithoutEvaluation(path, evaluation.failure)
    try:
        if evaluation.results or not is_saved:
            state.save_final(evaluation.results)
    except EXPECTED_ERRORS as error:  # on all processes
        if not is_saved:
            raise
        raise TrainedWithoutEvaluation(path, error) from error
    logger.info("training is done: model_final.pth and all other results are in %s", path.parent)
    return evaluation.results


def _save_if_done(run: TrainingRun) -> None:
    """Write model_final.pth after the last step, before the evaluation.

    A file that already has these weights keeps its metrics: a resumed run may have no steps left.
    """
    if run.state.iteration >= run.max_iteration:
        run.state.save_final({}, keep_equal=True)


def _catch_up(run: TrainingRun, evaluation: PeriodicEvaluation) -> bool:
    """Evaluate if a resumed run has yet to; return whether its training has ended."""
    start, best = run.state.iteration, run.state.best
    if best.is_out_of_patience:
        logger.info(
            "training stopped early at iteration %d; a larger TEST.PATIENCE continues it", start
        )
        return True
    # It may have been interrupted before or during the evaluation of its last step.
    pending = start > best.iteration and evaluation.is_due(start, run.max_iteration)
    return pending and evaluation.run(start)


def _review(
    run: TrainingRun,
    checkpoint: PeriodicCheckpoint,
    iteration: int,
    metrics: Mapping[str, float],
) -> bool:
    """Save the result of an evaluation; return whether training should stop."""
    stops = run.keep_if_best(iteration, metrics)
    if stops or checkpoint.saved_iteration == iteration:
        checkpoint.save_now(iteration)  # with the updated best result
    run.draw_detections(iteration)  # last: it may fail
    return stops
