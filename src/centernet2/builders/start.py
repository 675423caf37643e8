"""How a training run starts: resumed, from weights, or from scratch."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from centernet2 import distributed
from centernet2.builders.initial_weights import (
    fit_to_previous,
    fit_to_weights,
    read_initial_weights,
    starts_from_timm,
)
from centernet2.builders.loading import StrPath, config_of
from centernet2.checkpoint import Checkpoint, WeightsFile
from centernet2.checkpoint.load import load_state, load_weights_file
from centernet2.checkpoint.save import last_checkpoint
from centernet2.config import Config, ConfigError
from centernet2.models.detector import Detector
from centernet2.zoo import ZOO_PREFIX, DownloadError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resume:
    """A training run goes on from its last checkpoint."""

    path: Path
    checkpoint: Checkpoint
    training: Mapping[str, Any]  # state of the run, without the weights


@dataclass(frozen=True)
class FromWeights:
    """A new training run starts at iteration 0 with the weights of a file."""

    file: WeightsFile


@dataclass(frozen=True)
class FromScratch:
    """A new training run starts with random weights."""


Start = Resume | FromWeights | FromScratch


def choose_start(
    config: Config, output: Path, *, weights: StrPath | None = None, resume: bool = False
) -> Start:
    """Choose how a training run starts: the first of these that there is.

    1. With `resume`, the newest readable checkpoint of the output folder.
    2. `weights`: a file, zoo:NAME or detectron2://...
    3. With MODEL.TIMM.PRETRAINED, timm's weights of the backbone.
    4. MODEL.WEIGHTS; a detectron2://... that is not in the cache is left out with a warning.
    5. Random weights.
    """
    if resume and (found := _checkpoint_to_resume(output)):
        return found
    if weights is not None or starts_from_timm(config):
        file = read_initial_weights(config, weights)
    else:
        file = _configured_weights(config)
    return FromScratch() if file is None else FromWeights(file)


def fit_to_start(config: Config, start: Start) -> Config:
    """Set options that belong to the initial weights, unless the config states them."""
    match start:
        case Resume(checkpoint=checkpoint):
            return fit_to_previous(config, config_of(checkpoint.info))
        case FromWeights(file):
            return fit_to_weights(config, file)
        case FromScratch():
            return config


def load_start(model: Detector, config: Config, start: Start) -> None:
    """Fill a new model with the weights of the start."""
    match start:
        case Resume():
            _load_resumed(model, config, start)
        case FromWeights(file):
            load_weights_file(model, file)
        case FromScratch():
            pass


def _checkpoint_to_resume(output: Path) -> Resume | None:
    """The last checkpoint, one file for all processes; None where there is none."""
    found = last_checkpoint(output)
    names = distributed.gather_objects(None if found is None else found[0].name)
    if len(set(names)) > 1:
        seen = ", ".join(f"{name or 'none'} by process {rank}" for rank, name in enumerate(names))
        raise ConfigError(
            f"--output-dir {output} must be one folder for all machines; "
            f"the last checkpoint is {seen}"
        )
    if found is None:
        logger.warning("no checkpoint in %s to resume from: training begins at its start", output)
        return None
    path, checkpoint = found
    if checkpoint.training is None:
        raise ConfigError(f"{path} holds weights only: load it with --weights, without --resume")
    return Resume(path, checkpoint, checkpoint.training)


def _configured_weights(config: Config) -> WeightsFile | None:
    configured = config.model.weights
    try:
        return read_initial_weights(config, configured or None)
    except DownloadError as error:
        if configured.startswith(ZOO_PREFIX):
            raise
        logger.warning("%s. Training from scratch.", error)
        return None


def _load_resumed(model: Detector, config: Config, start: Resume) -> None:
    """Load the weights of a checkpoint, and say which options have changed since."""
    report = load_state(model, start.checkpoint.weights)
    before = config_of(start.checkpoint.info)
    changed = [f"{key} {before[key]} -> {config[key]}" for key in config.changed_from(before)]
    if report.reinitialized or report.mismatched or report.skipped:
        raise ConfigError(
            f"{start.path} holds another model than this config "
            f"({'; '.join(changed) or 'no option differs'}); resume with the config of the run, "
            "or train into another --output-dir"
        )
    logger.info("resuming from %s", start.path)
    if changed:
        logger.warning("changed since the checkpoint was written: %s", "; ".join(changed))
