"""The command `train`: train a detector."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from centernet2.arguments import checked
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
from centernet2.option_groups import DATA, RUN
from centernet2.ranges import above, between

if TYPE_CHECKING:
    from centernet2.builders.training.train_command import TrainCommand
    from centernet2.builders.training.training_data import TrainingSets
    from centernet2.builders.training.training_run import TrainingRun
    from centernet2.config import Config
    from centernet2.training.step import FinishedStep

DEFAULT_CONFIG_NAME = "CenterNet2_R50_1x"
# Unless given otherwise. The heat map has no classes: if objects have labels in one of two data
# sets and are background in the other, their probability tends to 0.39, where gradients cancel.
PARTIAL_LABELS = {"DATASETS.PARTIAL_LABELS": True, "MODEL.CENTERNET.IGNORE_HIGH_FP": 0.3}


@Parameter(name="*", group=RUN)
@dataclass(frozen=True)
class TrainMode:
    """Variants of a training run.

    Parameters
    ----------
    minutes
        Wall-clock time of the run, evaluations included (SOLVER.MAX_MINUTES).
    effort
        How much a run without --config-file spends: quick (5 minutes), normal (20) or best (120).
    val_fraction
        Fraction of the images to evaluate on, if the data have no validation split.
    keep_classes
        Add the classes of the data to those of --from, which are kept: the old detector labels
        them, and where it is not sure they are unknown, not background.
    partial_labels
        Train on several DATA together that label different classes: a class that one of them lacks
        is unknown in its images, not background.
    auto_scale_lr
        Scale the learning rate and the schedule if SOLVER.IMS_PER_BATCH differs from the config
        file.
    dry_run
        Check config, data and weights, take one step, print the plan and write nothing.
    eval_only
        Evaluate the weights without training; write detections and metrics to the output folder.
    """

    minutes: float | None = None
    effort: Literal["quick", "normal", "best"] | None = None
    val_fraction: Annotated[float | None, Parameter(group=DATA)] = None
    class_map: ClassMap = None
    keep_classes: Annotated[Flag, Parameter(group=DATA)] = False
    partial_labels: Annotated[Flag, Parameter(group=DATA)] = False
    auto_scale_lr: Flag = False
    dry_run: Flag = False
    eval_only: Flag = False

    @property
    def is_resumable(self) -> bool:
        """Whether an interrupted command can be continued with --resume."""
        return not (self.dry_run or self.eval_only)

    def refuse_contradictions(self, *, seed: int | None) -> None:
        """Raise ValueError for options that exclude each other."""
        if self.dry_run and self.eval_only:
            raise ValueError("give either --dry-run or --eval-only: a dry run is one of training")
        training = {
            "--keep-classes": self.keep_classes,
            "--minutes": self.minutes is not None,
            "--effort": self.effort is not None,
            "--auto-scale-lr": self.auto_scale_lr,
            "--seed": seed is not None,
        }
        given = [option for option, is_given in training.items() if is_given]
        if self.eval_only and given:
            options = " and ".join(given)
            raise ValueError(f"leave out {options} beside --eval-only: nothing is trained")


DEFAULT_MODE = TrainMode()


@checked(val_fraction=between(0, 1, excluded=(1,)), minutes=above(0))
def train(
    config: Annotated[ConfigArgument | None, Parameter(name="--config-file")] = None,
    *overrides: OverridePairs,
    data: OptionalData = None,
    data_path: DataPath = None,
    output_dir: PathArgument | None = None,
    weights: Annotated[WeightsArgument | None, Parameter(name=("--weights", "--from"))] = None,
    resume: Flag = False,
    seed: int | None = None,
    device: Device = None,
    mode: TrainMode = DEFAULT_MODE,
) -> dict[str, float] | list[str]:
    """Train a detector and evaluate it at the end.

    Parameters
    ----------
    config
        Path of a config, or the name of a packaged one; default: options are chosen for the data
        and the device, or without --data CenterNet2_R50_1x.
    output_dir
        Folder for checkpoints, config.yaml, metrics.jsonl and the evaluation; default: OUTPUT_DIR.
    weights
        Initial weights: a run, a file or zoo:NAME; default: MODEL.WEIGHTS. If that is a
        detectron2://... address whose file is not in the cache, training starts from scratch.
    resume
        Continue the run in the output folder, with its data and options where none are given here.
    seed
        Random seed; default: SEED or, if it is negative, that of the run to resume, or any.

    Returns
    -------
    Metrics of the last evaluation in percent, {"bbox/AP": ..., ...}; for a dry run, its plan.
    """
    started = time.monotonic()
    from centernet2 import distributed
    from centernet2.builders.training.config_completion import choose_output_folder
    from centernet2.builders.training.train_command import given_command, previous_command
    from centernet2.builders.training.train_to_end import run_to_end
    from centernet2.builders.training.training_setup import set_up

    data, several, words = _split_data_sets(overrides, data, mode)
    mode.refuse_contradictions(seed=seed)
    values = _join(_given_values(words, mode, seed), several, "the data sets")
    plan_for = data if config is None and not mode.eval_only else None
    file_config = _file_config(config, plan_for, weights or values.get("MODEL.WEIGHTS"), mode)
    data = None if several else data
    output = choose_output_folder(file_config.replace(values), output_dir)
    previous = previous_command(output) if resume else None
    if previous is not None and config is None:
        file_config = previous.file_config
    values = _with_kept_classes(values, mode, file_config, weights, previous, output)
    command = given_command(
        file_config, values, data=data, data_path=data_path, weights=weights, device=device
    )
    _check_if_new(command, previous, config, output, resume=resume, trains=not mode.eval_only)
    with distributed.closing_process_group():
        if mode.eval_only:
            return _evaluate(command, previous, output, config=config, mode=mode, resume=resume)
        command, sets = _completed(command, previous, mode, plan_for=plan_for, started=started)
        run = set_up(command, previous, output, resume=resume, started=started, sets=sets)
        return _dry_run(run) if mode.dry_run else run_to_end(run)


def _completed(
    command: TrainCommand,
    previous: TrainCommand | None,
    mode: TrainMode,
    *,
    plan_for: PathArgument | None,
    started: float,
) -> tuple[TrainCommand, TrainingSets | None]:
    """Add the options of the run to resume, or those that are chosen for the data.

    The data are returned, too, if they have been read.

    Args:
        command: what is given.
        previous: of the run to resume.
        mode: holds the effort, and whether options are scaled to the batch.
        plan_for: the first data set that a new run chooses its options for; None: it plans none.
        started: value of time.monotonic() at the start of the command.
    """
    from centernet2.builders.training.automatic_plan import plan_training
    from centernet2.builders.training.config_completion import scale_command

    if mode.effort is not None and (previous is not None or plan_for is None):
        raise ValueError(
            "--effort chooses options for the data of a new run; leave it out beside "
            "--config-file and --resume, or give --minutes, which sets the time of any run"
        )
    sets: TrainingSets | None = None
    if previous is not None:
        command = command.after(previous)
    elif plan_for is not None:
        command, sets = plan_training(command, effort=mode.effort or "normal", started=started)
    return scale_command(command, previous) if mode.auto_scale_lr else command, sets


def _file_config(
    config: ConfigArgument | None,
    plan_for: PathArgument | None,
    weights: WeightsArgument | None,
    mode: TrainMode,
) -> Config:
    """Return the config that a command names, or begins with if it names none.

    An evaluation takes that of the weights. A plan has a name so far, that of the data, and its
    output folder is runs/NAME.
    """
    from centernet2.builders.detector.loading import as_config, stored_config
    from centernet2.config import Config

    if config is None and mode.eval_only and weights:
        return stored_config(weights)
    if plan_for is not None:
        return Config(name=Path(plan_for).resolve().stem).replace({"OUTPUT_DIR": "./runs/auto"})
    return as_config(config or DEFAULT_CONFIG_NAME)


def _evaluate(
    command: TrainCommand,
    previous: TrainCommand | None,
    output: Path,
    *,
    config: ConfigArgument | None,
    mode: TrainMode,
    resume: bool,
) -> dict[str, float]:
    """Evaluate weights as `eval` does, with the options of their checkpoint.

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


def _check_if_new(
    command: TrainCommand,
    previous: TrainCommand | None,
    config: ConfigArgument | None,
    output: Path,
    *,
    resume: bool,
    trains: bool,
) -> None:
    """Refuse a new run if a missing one seems meant, or if it would move other files."""
    from centernet2.builders.training.earlier_run import require_movable
    from centernet2.builders.training.missing_run import describe_missing_run

    if previous is not None:
        return
    names_data = command.data or command.data_path or "DATASETS.TRAIN" in command.overrides
    if resume and config is None and not names_data:
        raise ValueError(
            f"{describe_missing_run(output)}; name its --output-dir, or the --data of a new run"
        )
    if not trains:
        return
    inputs = {"--weights": command.weights, "MODEL.WEIGHTS": command.config.model.weights or None}
    inputs |= {"--data": command.data, "--data-path": command.data_path}
    if isinstance(config, str | os.PathLike):
        inputs["--config-file"] = os.fspath(config)
    require_movable(output, inputs)


def _given_values(words: Sequence[Any], mode: TrainMode, seed: int | None) -> dict[str, Any]:
    """Return the values of the overrides, of the mode and of the seed, by key."""
    from centernet2.builders.data.class_map import class_map_of
    from centernet2.config import CLASS_MAP_KEY, parse_pairs

    given: dict[str, tuple[str, Any]] = {
        "--val-fraction": ("DATASETS.VAL_FRACTION", mode.val_fraction),
        "--class-map": (CLASS_MAP_KEY, class_map_of(mode.class_map)),
        "--seed": ("SEED", seed),
        "--minutes": ("SOLVER.MAX_MINUTES", None if mode.minutes is None else float(mode.minutes)),
    }
    values = parse_pairs(words)
    for option, (key, value) in given.items():
        if value is not None:
            values = _join(values, {key: value}, option)
    return PARTIAL_LABELS | values if mode.partial_labels else values


def _join(values: dict[str, Any], others: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Add values by key that `owner` gives; raise ValueError if one is given already."""
    for key in others:
        if key in values:
            raise ValueError(f"{key} has no effect beside {owner}; leave one of them out")
    return {**values, **others}


def _split_data_sets(
    overrides: Sequence[Any], data: PathArgument | None, mode: TrainMode
) -> tuple[PathArgument | None, dict[str, tuple[str, ...]], Sequence[Any]]:
    """Split the first data set, and those of --partial-labels by key, from overrides."""
    from centernet2.builders.training.train_command import DATA_SET_KEYS, absolute

    words = overrides
    if data is None or not mode.partial_labels:  # else the others follow --data
        data, words = split_data(overrides, data, command="train")
    given = [] if data is None else [data]
    while given:
        more, rest = split_data(words, None, command="train")
        if more is None:
            break
        given, words = [*given, more], rest
    paths = tuple(str(absolute(each)) for each in given)
    if repeated := [each for each in paths if paths.count(each) > 1]:
        raise ValueError(f"the data set {repeated[0]} is given twice; name it once")
    if len(given) > 1 and not mode.partial_labels:
        raise ValueError(
            f"{len(given)} data sets are given; --partial-labels trains on them together, each "
            "with the classes that it labels"
        )
    if len(given) == 1 and mode.partial_labels:
        raise ValueError(
            f"--partial-labels joins several data sets, and only {given[0]} is given; name the "
            "others after it, or leave the option out"
        )
    if len(given) < 2:
        return data, {}, words
    return data, dict.fromkeys(DATA_SET_KEYS, paths), words


def _with_kept_classes(
    values: dict[str, Any],
    mode: TrainMode,
    file_config: Config,
    weights: WeightsArgument | None,
    previous: TrainCommand | None,
    output: Path,
) -> dict[str, Any]:
    """Add the classes of --keep-classes by key; a resumed run has them already."""
    from centernet2.builders.training.kept_classes import class_names_to_keep
    from centernet2.config import KEPT_CLASSES_KEY

    if not mode.keep_classes:
        return values
    if previous is None:
        names = class_names_to_keep(weights or file_config.replace(values).model.weights)
        return _join(values, {KEPT_CLASSES_KEY: names}, "--keep-classes")
    if not previous.config.datasets.kept_classes:
        raise ValueError(
            f"the run in {output} was started without --keep-classes; leave it out beside "
            "--resume, or train in another --output-dir"
        )
    return values


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
