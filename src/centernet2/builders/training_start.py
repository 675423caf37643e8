"""Start of a training run: resumed, from weights, or from scratch."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from centernet2 import distributed
from centernet2.builders.initial_weights import (
    fit_to_previous,
    fit_to_weights,
    read_initial_weights,
    starts_from_timm,
)
from centernet2.builders.loading import StrPath, build_on_meta, config_of
from centernet2.checkpoint import Checkpoint, WeightsFile
from centernet2.checkpoint.checkpoint import last_checkpoint
from centernet2.checkpoint.filling import load_state, load_weights_file
from centernet2.config import CLASS_KEYS, Config, ConfigError
from centernet2.models.detector import Detector
from centernet2.zoo import ZOO_PREFIX, DownloadError

logger = logging.getLogger(__name__)

FEDERATED_KEY = "MODEL.ROI_BOX_HEAD.USE_FED_LOSS"


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
    3. With MODEL.TIMM.PRETRAINED, the backbone weights of timm.
    4. MODEL.WEIGHTS; a detectron2://... that is not cached is skipped with a warning.
    5. Random weights.
    """
    if resume and (start := _checkpoint_to_resume(output)):
        return start
    if weights is not None or starts_from_timm(config):
        file = read_initial_weights(config, weights)
    else:
        file = _configured_weights(config)
    return FromScratch() if file is None else FromWeights(file)


def fit_to_start(config: Config, start: Start) -> Config:
    """Set the options that the initial weights require, unless the config states them."""
    match start:
        case Resume(checkpoint=checkpoint):
            return fit_to_previous(config, config_of(checkpoint.info))
        case FromWeights(file):
            return fit_to_weights(config, file)
        case FromScratch():
            return config


def load_start(model: Detector, config: Config, start: Start) -> None:
    """Load the weights of the start into a new model."""
    match start:
        case Resume():
            _load_resumed(model, config, start)
        case FromWeights(file):
            load_weights_file(model, _without_other_classes(file, model, config))
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
        logger.warning("no checkpoint in %s to resume from: training starts at iteration 0", output)
        return None
    path, checkpoint = last
    if checkpoint.training is None:
        raise ConfigError(f"{path} has weights only: load it with --weights, without --resume")
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


def _without_other_classes(file: WeightsFile, model: Detector, config: Config) -> WeightsFile:
    """Leave out the class layers of a checkpoint that was trained on as many other classes.

    Those of another number of classes have other shapes, and are not loaded anyway.
    """
    names = () if file.checkpoint is None else file.checkpoint.info.class_names
    classes = model.info.class_names
    if len(names) != len(classes) or names == classes:
        return file
    logger.warning(
        "%s was trained on other classes (%s): its class layers are not loaded",
        file.origin,
        _first_difference(names, classes),
    )
    own = model.state_dict()
    values = dict.fromkeys(CLASS_KEYS, len(classes) + 1) | {FEDERATED_KEY: False}
    larger = build_on_meta(config.replace(values)).state_dict()
    shared = {n for n, tensor in larger.items() if n in own and own[n].shape == tensor.shape}
    kept = {n: tensor for n, tensor in file.tensors.items() if n in shared or n not in own}
    return replace(file, tensors=kept)


def _first_difference(names: Sequence[str], classes: Sequence[str]) -> str:
    pairs = zip(names, classes, strict=True)
    label, (name, own) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
    return f"class {label} is '{name}' there and '{own}' in the data"


def _load_resumed(model: Detector, config: Config, start: Resume) -> None:
    """Load the weights of a checkpoint, and log the options that have changed."""
    names, classes = start.checkpoint.info.class_names, model.info.class_names
    if len(names) == len(classes) and names != classes:
        raise ConfigError(
            f"{start.path} was trained on other classes: {_first_difference(names, classes)}; "
            "resume with the data of the run, or use another --output-dir"
        )
    report = load_state(model, start.checkpoint.weights)
    before = config_of(start.checkpoint.info)
    changed = [f"{key} {before[key]} -> {config[key]}" for key in config.changed_from(before)]
    if report.reinitialized or report.mismatched or report.skipped:
        raise ConfigError(
            f"{start.path} does not fit the model of this config "
            f"({'; '.join(changed) or 'no option differs'}); resume with the config of the run, "
            "or use another --output-dir"
        )
    logger.info("resuming from %s", start.path)
    if changed:
        logger.warning("changed since the checkpoint was written: %s", "; ".join(changed))
