"""What a training is going to do: its length in iterations, its learning rate, and both in words."""

import math
from collections.abc import Sequence

from centernet2.builders.solver import build_multiplier
from centernet2.config import Config
from centernet2.data.dataset import DetectionDataset
from centernet2.models.detector import Detector

RATES = ("SOLVER.BASE_LR", "SOLVER.BASE_LR_END")
LENGTHS = (
    "SOLVER.MAX_ITER",
    "SOLVER.STEPS",
    "SOLVER.WARMUP_ITERS",
    "SOLVER.CHECKPOINT_PERIOD",
    "TEST.EVAL_PERIOD",
)


def scale_to_batch(config: Config, made_for: Config) -> tuple[Config, list[str]]:
    """The settings with rates and lengths that suit their batch, and what was changed, in words.

    With k times the images per iteration of the settings that they were made for, SGD learns k times faster
    (arXiv 1706.02677) and AdamW sqrt(k) times (arXiv 2205.10287), in 1 / k of the iterations. What differs from those
    settings by itself stays.
    """
    k = config.run.ims_per_batch / made_for.run.ims_per_batch
    rate = math.sqrt(k) if config.optimizer.optimizer == "ADAMW" else k
    scaled = {key: config[key] * rate for key in RATES} | {
        key: _divided(config[key], k) for key in LENGTHS
    }
    changes = {
        key: value
        for key, value in scaled.items()
        if config[key] == made_for[key] and value != config[key]
    }
    images = f"{made_for.run.ims_per_batch} -> {config.run.ims_per_batch} images per iteration"
    return config.replace(changes), [
        images,
        *(f"{key} {config[key]} -> {value}" for key, value in changes.items()),
    ]


def count_in_iterations(config: Config, num_images: int) -> Config:
    """The settings with SOLVER.MAX_EPOCHS and TEST.EVAL_EPOCHS turned into iterations."""
    per_epoch = num_images / config.run.ims_per_batch
    values: dict[str, object] = {}
    if config.run.max_epochs > 0:
        last = max(1, round(config.run.max_epochs * per_epoch))
        values["SOLVER.MAX_ITER"] = last
        values["SOLVER.STEPS"] = _divided(config.schedule.steps, config.schedule.max_iter / last)
    if config.run.eval_epochs > 0:
        values["TEST.EVAL_PERIOD"] = max(1, round(config.run.eval_epochs * per_epoch))
    return config.replace(values)


def describe(
    config: Config,
    model: Detector,
    train_set: DetectionDataset,
    val_set: DetectionDataset,
    *,
    processes: int,
    last: int,
) -> list[str]:
    """The plan of a training in a few lines."""
    run = config.run
    parameters = [p.numel() for p in model.parameters()]
    trained = [p.numel() for p in model.parameters() if p.requires_grad]
    parts = "" if run.accumulation_steps == 1 else f" x {run.accumulation_steps} parts"
    share = run.ims_per_batch // (processes * run.accumulation_steps)
    evaluation = "evaluated at the end" if run.eval_period >= 0 else "not evaluated"
    if run.eval_period > 0:
        evaluation += f" and every {run.eval_period} iterations"
    minutes = f" or {run.checkpoint_minutes:g} minutes" if run.checkpoint_minutes > 0 else ""
    return [
        f"training data: {train_set.name}, {len(train_set)} images, {len(train_set.boxes)} objects, "
        f"{len(train_set.class_names)} classes",
        f"validation data: {val_set.name}, {len(val_set)} images; {evaluation}",
        f"model: {config.name}, {sum(parameters) / 1e6:.1f} M parameters, {sum(trained) / 1e6:.1f} M of them trained",
        f"batch: {run.ims_per_batch} images = {processes} processes{parts} x {share}",
        f"length: {last} iterations = {last * run.ims_per_batch / len(train_set):.2f} epochs",
        f"learning rate by iteration: {', '.join(_learning_rates(config, last))} ({config.optimizer.optimizer})",
        f"checkpoints: every {run.checkpoint_period} iterations{minutes}",
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
    """Iterations divided and rounded; 0 and less mean none."""
    if isinstance(value, int):
        return max(1, round(value / by)) if value > 0 else value
    return tuple(max(1, round(each / by)) for each in value)
