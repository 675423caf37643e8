"""Plan a training run: output folder, data, length in iterations, learning rate."""

import logging
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from centernet2 import distributed
from centernet2.builders.data.class_map import parse_class_map, require_renamed
from centernet2.builders.data.class_matching import match_classes
from centernet2.builders.detector.loading import StrPath, set_num_classes
from centernet2.builders.training.solver import build_multiplier
from centernet2.config import CLASS_MAP_KEY, Config, ConfigError
from centernet2.data import (
    DetectionDataset,
    class_list,
    join_classes,
    require_ground_truth,
    require_masks,
    require_objects,
    similar_names,
    with_unlabelled_classes,
    without_empty_images,
)
from centernet2.data.readers import load_dataset
from centernet2.models.detector import Detector
from centernet2.outputs import writable_folder
from centernet2.spelling import counted

logger = logging.getLogger(__name__)

TrainingSets = tuple[DetectionDataset, DetectionDataset]  # for training and for validation

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


def find_training_data(
    config: Config, data: StrPath | None, data_path: StrPath | None
) -> TrainingSets:
    """Load the training set and the validation set, whose classes are matched by name."""
    class_map = parse_class_map(config.datasets.class_map)
    find = partial(
        load_dataset,
        data=data,
        data_path=data_path,
        val_fraction=config.datasets.val_fraction,
        val_seed=config.datasets.val_seed,
        class_map=class_map,
        partial_labels=config.datasets.partial_labels,
    )
    train_set = find(names=config.datasets.train, split="train", masks=needs_masks(config))
    val_set = find(names=config.datasets.test, split="val", masks=config.model.mask_on)
    require_renamed(class_map, (train_set, val_set), f"--class-map ({CLASS_MAP_KEY})")
    _name_empty_classes(train_set)
    if config.datasets.kept_classes:
        train_set = keep_classes(train_set, config)
    owner = "the detector" if config.datasets.kept_classes else train_set.name
    for note in match_classes(train_set.class_names, val_set, owner=owner).notes:
        logger.warning("%s", note)
    _name_similar_classes(train_set)
    _name_shared_images(train_set, val_set)
    if needs_masks(config):
        require_masks(train_set)
    require_objects(train_set)
    _count_crowds(train_set)
    if config.run.eval_period >= 0:
        require_ground_truth(val_set)
    return (without_empty_images(train_set) if config.loader.filter_empty else train_set), val_set


def _name_similar_classes(train_set: DetectionDataset) -> None:
    """Log classes that may be meant as one, as of data that are joined."""
    for first, other in similar_names(train_set.class_names):
        logger.warning(
            "the classes %s and %s of %s differ in upper and lower case alone; --class-map "
            "%s=%s makes them one", first, other, train_set.name, other, first,
        )  # fmt: skip


def _name_empty_classes(train_set: DetectionDataset) -> None:
    """Log classes without an object.

    Exports of Roboflow list the name of the group as a class.
    """
    counts = np.bincount(train_set.labels[~train_set.crowd], minlength=len(train_set.class_names))
    empty = [train_set.class_names[label] for label in np.flatnonzero(counts == 0).tolist()]
    if empty:
        logger.warning(
            "%s has no object of %s; the detector cannot learn %s",
            train_set.name, class_list(empty), "it" if len(empty) == 1 else "them",
        )  # fmt: skip


def _count_crowds(train_set: DetectionDataset) -> None:
    """Log how many objects are not trained on; some tools mark each mask as a crowd."""
    crowds, objects = int(train_set.crowd.sum()), len(train_set.crowd)
    if crowds and train_set.labelled is None:  # else they are uncertain objects
        logger.log(
            logging.WARNING if 2 * crowds >= objects else logging.INFO,
            "%s: %d of %d objects are crowds (iscrowd 1, or difficult in Pascal VOC) and left out",
            train_set.name, crowds, objects,
        )  # fmt: skip


def _name_shared_images(train_set: DetectionDataset, val_set: DetectionDataset) -> None:
    """Log how many images are in both sets, by their files below one folder."""
    if train_set.folder == val_set.folder:
        count = int(np.isin(val_set.files, train_set.files).sum())
        if count:
            logger.warning(
                "%d of %d validation images are training images, too: metrics on them are too good",
                count, len(val_set),
            )  # fmt: skip


def needs_masks(config: Config) -> bool:
    """Whether training reads the masks of objects."""
    return config.model.mask_on or config.augmentation.copy_paste > 0


def keep_classes(train_set: DetectionDataset, config: Config) -> DetectionDataset:
    """Number the new classes of the data behind those that are kept."""
    kept = config.datasets.kept_classes
    new = join_classes(train_set.class_names, kept).added
    if not new:
        raise ConfigError(
            f"{train_set.name} has {class_list(train_set.class_names)}, and the initial weights "
            "have all of them, so there is no class to add; leave --keep-classes out"
        )
    return with_unlabelled_classes(train_set, [*kept, *new])


def fit_to_data(config: Config, dataset: DetectionDataset) -> Config:
    """Set the number of classes, and convert epochs to iterations."""
    return count_in_iterations(
        set_num_classes(config, len(dataset.class_names), owner=dataset.name), len(dataset)
    )


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
