"""Start of a training run: resumed, from weights, or from scratch."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from centernet2 import distributed
from centernet2.builders.detector.class_layers import join_class_layers
from centernet2.builders.detector.initial_weights import (
    fit_to_previous,
    fit_to_weights,
    named_weights,
    read_initial_weights,
)
from centernet2.builders.detector.loading import config_of
from centernet2.builders.training.train_command import COMMAND_FILE
from centernet2.checkpoint import Checkpoint, WeightsError, WeightsFile, load_checkpoint
from centernet2.checkpoint.checkpoint import FINAL_FILE, last_checkpoint
from centernet2.checkpoint.filling import load_state, load_weights
from centernet2.config import REFUSED, Config, ConfigError
from centernet2.data import DetectionDataset, class_list, with_classes
from centernet2.models.detector import Detector
from centernet2.structures import StrPath
from centernet2.zoo import DETECTRON2, ZOO_PREFIX, DownloadError, zoo_model

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resume:
    """Continue a training run from its last checkpoint."""

    path: Path
    checkpoint: Checkpoint
    training: Mapping[str, Any]  # state of the training run, without weights


@dataclass(frozen=True)
class FromWeights:
    """Start a training run at iteration 0 with the weights of a file."""

    file: WeightsFile
    published: tuple[str, ...] = ()  # classes of a published model, whose file does not name them

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes of the weights; empty: unknown."""
        checkpoint = self.file.checkpoint
        return self.published if checkpoint is None else checkpoint.info.class_names


@dataclass(frozen=True)
class FromScratch:
    """Start a training run with random weights."""


Start = Resume | FromWeights | FromScratch


def choose_start(
    config: Config, output: Path, *, weights: StrPath | None = None, resume: bool = False
) -> Start:
    """Choose the start of a training run: the first of these that is available.

    1. With `resume`, the newest readable checkpoint in the output folder.
    2. `weights`: a file, zoo:NAME or detectron2://...
    3. MODEL.WEIGHTS: a file or zoo:NAME.
    4. With MODEL.TIMM.PRETRAINED, the backbone weights of timm.
    5. The detectron2://... of MODEL.WEIGHTS, skipped with a warning where it is not cached.
    6. Random weights.
    """
    if resume and (start := _checkpoint_to_resume(output)):
        return start
    named = named_weights(config, weights)
    try:
        file = read_initial_weights(config, named)
    except DownloadError as error:
        if weights is not None or not named or not named.startswith(DETECTRON2):
            raise
        logger.warning("%s. Training from scratch.", error)
        file = None
    if file is None:
        return FromScratch()
    is_published = named is not None and named.startswith(ZOO_PREFIX) and not file.is_backbone
    return FromWeights(file, zoo_model(str(named)).class_names if is_published else ())


def fit_to_start(config: Config, start: Start) -> Config:
    """Set the options that the initial weights require, unless the config states them.

    Raises:
        ConfigError: an option differs from the run to resume, and cannot change in it.
    """
    match start:
        case Resume(checkpoint=checkpoint):
            before = config_of(checkpoint.info)
            config = fit_to_previous(config, before)
            _refuse_changes(config, before, start.path)
            return config
        case FromWeights(file=file):
            return fit_to_weights(config, file)
        case FromScratch():
            return config


def in_classes_of(start: Start, train_set: DetectionDataset) -> DetectionDataset:
    """Number the classes of the data as in the run to resume.

    Raises:
        ConfigError: the data have other classes.
    """
    names = start.checkpoint.info.class_names if isinstance(start, Resume) else ()
    if not isinstance(start, Resume) or not names:
        return train_set
    if sorted(names) != sorted(train_set.class_names):
        raise ConfigError(
            f"{start.path} was trained on {class_list(names)}, and {train_set.name} has "
            f"{class_list(train_set.class_names)}; resume with the classes of the run (--class-map "
            "OLD=NEW renames those of the data), or use another --output-dir"
        )
    return with_classes(train_set, names, owner=str(start.path))


def same_seed(config: Config, start: Resume) -> bool:
    """Whether the random numbers of the run to resume continue."""
    return config.run.seed == config_of(start.checkpoint.info).run.seed


def resumed_origin(origin: Mapping[str, Any], start: Resume) -> dict[str, Any]:
    """Return the origin of a resumed run, with its first weights and all resumptions."""
    before = start.checkpoint.origin or {}
    steps = [*before.get("resumed_at", []), start.checkpoint.iteration]
    return {**origin, "initial_weights": before.get("initial_weights", ""), "resumed_at": steps}


def load_start(
    model: Detector, config: Config, start: Start, *, changes: Sequence[str] = ()
) -> None:
    """Load the weights of the start into a new model.

    Args:
        changes: what differs from the run to resume besides its options, for the log.
    """
    match start:
        case Resume():
            _load_resumed(model, config, start, changes)
        case FromWeights(file=file):
            join = partial(
                join_class_layers,
                model=model,
                config=config,
                names=start.class_names,
                origin=file.origin,
            )
            load_weights(model, file, adapt=join)
        case FromScratch():
            pass


def _checkpoint_to_resume(output: Path) -> Resume | None:
    """Read the last checkpoint, one file for all processes; None: there is none."""
    last = last_checkpoint(output)
    names = distributed.gather_objects(None if last is None else last[0].name)
    if len(set(names)) > 1:
        seen = ", ".join(f"{name or 'none'} by process {rank}" for rank, name in enumerate(names))
        raise ConfigError(
            f"the output folder {output} must be one for all machines; "
            f"the last checkpoint is {seen}"
        )
    if last is None:
        final = output / FINAL_FILE
        if final.is_file():
            raise ConfigError(
                f"{output} holds no checkpoint to resume, only {FINAL_FILE} of a finished run, "
                f"which has weights alone; train on with --weights {final} and another "
                f"--output-dir, or delete {FINAL_FILE} to start over"
            )
        repeats = f", with the options of {COMMAND_FILE}" * (output / COMMAND_FILE).is_file()
        logger.warning(
            "no checkpoint in %s to resume from: training starts at iteration 0%s", output, repeats
        )
        return None
    path, checkpoint = last
    if checkpoint.training is None:
        raise ConfigError(f"{path} has weights only: load it with --weights, without --resume")
    return Resume(path, checkpoint, checkpoint.training)


def _refuse_changes(config: Config, before: Config, path: Path) -> None:
    """Raise ConfigError for options that cannot change in a resumed run."""
    refused: dict[str, list[str]] = {}  # changes by reason
    for key in config.changed_from(before):
        if key in REFUSED:
            refused.setdefault(REFUSED[key], []).append(_change(key, config, before))
    if refused:
        reasons = [f"{'; '.join(changes)} ({reason})" for reason, changes in refused.items()]
        raise ConfigError(
            f"{path} cannot be resumed with {'; '.join(reasons)}; leave that out, or train in "
            "another --output-dir"
        )


def _change(key: str, config: Config, before: Config) -> str:
    values = (str(each[key]) or "''" for each in (before, config))
    return f"{key} {' -> '.join(values)}"


def _load_resumed(model: Detector, config: Config, start: Resume, changes: Sequence[str]) -> None:
    """Load the weights of a checkpoint, and log what has changed."""
    before = config_of(start.checkpoint.info)
    changed = [_change(key, config, before) for key in config.changed_from(before)]
    changed += changes
    report = load_state(model, start.checkpoint.weights)
    if report.reinitialized or report.mismatched or report.skipped:
        raise ConfigError(
            f"{start.path} does not fit the model of this config "
            f"({'; '.join(changed) or 'no option differs'}); resume with the config of the run, "
            "or use another --output-dir"
        )
    if changed:
        logger.warning(
            "resuming from %s; changed since the checkpoint was written: %s",
            start.path,
            "; ".join(changed),
        )
    else:
        logger.info("resuming from %s, with the options that it was written with", start.path)
    schedule, run = config.schedule, config.run
    last = schedule.max_iter if run.train_iter < 0 else run.train_iter
    if start.checkpoint.iteration >= last:
        key = "SOLVER.MAX_ITER" if run.train_iter < 0 else "SOLVER.TRAIN_ITER"
        logger.warning("all %d iterations are done; a larger %s continues training", last, key)
    else:
        _warn_of_thresholds(start.path.with_name(FINAL_FILE))


def _warn_of_thresholds(final: Path) -> None:
    """Say that thresholds end with the weights that they were chosen for."""
    try:
        info = load_checkpoint(final).info
    except WeightsError:  # missing or damaged, and the run writes it anew
        return
    if info.score_thresholds or info.calibration:
        logger.warning(
            "%s holds score thresholds; they are of its weights, which this run replaces: choose "
            "new ones with `centernet2 threshold` at the end",
            final,
        )
