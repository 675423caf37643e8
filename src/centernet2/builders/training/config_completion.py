"""Complete the config of a run: output folder, seed, length, learning rate."""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from centernet2 import distributed
from centernet2.builders.detector.loading import set_num_classes
from centernet2.builders.training.solver import build_multiplier
from centernet2.builders.training.train_command import TrainCommand
from centernet2.config import Config
from centernet2.data import DetectionDataset
from centernet2.models.detector import Detector
from centernet2.outputs import writable_folder
from centernet2.spelling import counted
from centernet2.structures import StrPath

logger = logging.getLogger(__name__)

RATES = ("SOLVER.BASE_LR", "SOLVER.BASE_LR_END")
LENGTHS = (
    "SOLVER.MAX_ITER",
    "SOLVER.STEPS",
    "SOLVER.WARMUP_ITERS",
    "SOLVER.CHECKPOINT_PERIOD",
    "TEST.EVAL_PERIOD",
)


def choose_output_folder(config: Config, given: StrPath | None) -> Path:
    """Return the output folder; raise ValueError if it cannot be written."""
    output = Path(config.run.output_dir if given is None else given)
    if given is None and output.name == "auto":
        output = output.with_name(config.name)
    written = ["eval", *(["pictures"] if config.run.pictures > 0 else [])]
    written += ["eval_ema"] if config.ema.enabled else []
    for folder in (output, *(output / name for name in written)):
        writable_folder(folder, "OUTPUT_DIR" if given is None else "--output-dir")
    return output


def choose_seed(config: Config) -> Config:
    """Replace a negative seed by a random one, which all processes share.

    The config is saved with the checkpoints, from which a resumed run takes the seed.
    """
    if config.run.seed >= 0:
        return config
    seed = distributed.gather_objects(int(torch.seed() % 2**31))[0]
    logger.info("seed %d", seed)
    return config.replace({"SEED": seed})


def fit_to_data(config: Config, dataset: DetectionDataset) -> Config:
    """Set the number of classes, and convert epochs to iterations."""
    return count_in_iterations(
        set_num_classes(config, len(dataset.class_names), owner=dataset.name), len(dataset)
    )


def scale_command(command: TrainCommand, previous: TrainCommand | None) -> TrainCommand:
    """Scale the learning rate and schedule of a command to its batch size.

    Args:
        previous: of the run to resume.
    """
    before = None if previous is None else previous.config
    options = command.config
    scaled, changes = scale_to_batch(options, command.file_config, before=before)
    logger.info("--auto-scale-lr: %s", "; ".join(changes))
    values = {key: scaled[key] for key in scaled.changed_from(options)}
    return replace(command, overrides={**command.overrides, **values})


def scale_to_batch(
    config: Config, made_for: Config, *, before: Config | None = None
) -> tuple[Config, list[str]]:
    """Scale learning rates and lengths to the batch size; also describe the changes.

    If the batch is k times that of the config `made_for`, the learning rate is multiplied by k for
    SGD (arXiv 1706.02677) and by sqrt(k) for AdamW (arXiv 2205.10287), and the number of iterations
    is divided by k. Options that differ from `made_for` are kept, unless they have been scaled to
    the batch size of `before`, the run to resume.
    """
    scaled = _scaled_values(made_for, config)
    earlier = {} if before is None else _scaled_values(made_for, before)
    changes = {
        key: value
        for key, value in scaled.items()
        if value != config[key] and config[key] in (made_for[key], earlier.get(key))
    }
    images = f"{made_for.run.ims_per_batch} -> {config.run.ims_per_batch} images per iteration"
    return config.replace(changes), [
        images,
        *(f"{key} {config[key]} -> {value}" for key, value in changes.items()),
    ]


def _scaled_values(made_for: Config, config: Config) -> dict[str, Any]:
    """Return the rates and lengths of `made_for`, scaled to a config's batch size."""
    k = config.run.ims_per_batch / made_for.run.ims_per_batch
    rate = math.sqrt(k) if config.optimizer.optimizer == "ADAMW" else k
    return {key: made_for[key] * rate for key in RATES} | {
        key: _divided(made_for[key], k) for key in LENGTHS
    }


def count_in_iterations(config: Config, num_images: int) -> Config:
    """Convert SOLVER.MAX_EPOCHS and TEST.EVAL_EPOCHS to iterations."""
    per_epoch = num_images / config.run.ims_per_batch
    values: dict[str, object] = {}
    if config.run.max_epochs > 0:
        last = max(1, round(config.run.max_epochs * per_epoch))
        values["SOLVER.MAX_ITER"] = last
        values["SOLVER.STEPS"] = _divided(config.schedule.steps, config.schedule.max_iter / last)
    if config.run.eval_epochs > 0:
        values["TEST.EVAL_PERIOD"] = max(1, round(config.run.eval_epochs * per_epoch))
    return config.replace(values)


def describe_plan(
    config: Config,
    model: Detector,
    train_set: DetectionDataset,
    val_set: DetectionDataset,
    *,
    last: int,
) -> list[str]:
    """Describe a training run of `last` iterations in a few lines."""
    options, processes = config.run, distributed.world_size()
    parameters = [p.numel() for p in model.parameters()]
    trained = [p.numel() for p in model.parameters() if p.requires_grad]
    parts = "" if options.accumulation_steps == 1 else f" x {options.accumulation_steps} parts"
    share = options.ims_per_batch // (processes * options.accumulation_steps)
    evaluation = "evaluated at the end" if options.eval_period >= 0 else "not evaluated"
    if options.eval_period > 0:
        evaluation += f" and every {options.eval_period} iterations"
    minutes, limit = options.checkpoint_minutes, options.max_minutes
    within = f", or less within {limit:g} minutes with all evaluations" if limit > 0 else ""
    or_minutes = f" or {minutes:g} minutes" if minutes > 0 else ""
    return [
        f"training data: {train_set.name}, {counted(len(train_set), 'image')}, "
        f"{counted(len(train_set.labels), 'object')}, "
        f"{counted(len(train_set.class_names), 'class')}",
        f"validation data: {val_set.name}, {counted(len(val_set), 'image')}; {evaluation}",
        f"model: {config.name}, {sum(parameters) / 1e6:.1f} M parameters, "
        f"{sum(trained) / 1e6:.1f} M of them trainable",
        f"batch: {counted(options.ims_per_batch, 'image')} = "
        f"{counted(processes, 'process')}{parts} x {share}",
        f"length: {last} iterations = {last * options.ims_per_batch / len(train_set):.2f} epochs"
        f"{within}",
        f"learning rate by iteration: {', '.join(_learning_rates(config, last))} "
        f"({config.optimizer.optimizer})",
        f"checkpoints: every {options.checkpoint_period} iterations{or_minutes}",
    ]


def _learning_rates(config: Config, last: int) -> list[str]:
    multiplier = build_multiplier(config)
    steps = (
        config.schedule.steps
        if config.schedule.name == "WarmupMultiStepLR"
        else (last // 4, last // 2)
    )
    points = sorted(
        {point for point in (0, config.schedule.warmup_iters, *steps, last - 1) if point < last}
    )
    return [f"{point}: {config.optimizer.base_lr * multiplier(point):.3g}" for point in points]


def _divided(value: int | Sequence[int], by: float) -> int | tuple[int, ...]:
    """Divide numbers of iterations, rounding to at least 1; keep 0 and less."""
    if isinstance(value, int):
        return max(1, round(value / by)) if value > 0 else value
    return tuple(max(1, round(each / by)) for each in value)
