"""Build models from configs, and load them from weights files."""

import logging
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import torch

from centernet2.arguments import checked
from centernet2.builders.detector.image_counts import image_counts_of_file
from centernet2.builders.detector.initial_weights import (
    find_checkpoint,
    fit_to_weights,
    read_initial_weights,
)
from centernet2.builders.detector.network import build_detector
from centernet2.checkpoint import WeightsError, WeightsFile, load_checkpoint, load_info
from centernet2.checkpoint.filling import LoadReport, load_state, load_weights
from centernet2.config import CLASS_KEYS, Config, ConfigError, Overrides, load_config, parse_config
from centernet2.config.parts import ModelOptions
from centernet2.devices import choose_device
from centernet2.kernels import convert_memory_format, fast_memory_format
from centernet2.models.detector import Detector
from centernet2.models.optimize import optimize_for_inference
from centernet2.spelling import counted
from centernet2.structures import ModelInfo, StrPath
from centernet2.zoo import ZOO_PREFIX, ZooModel, zoo_model

logger = logging.getLogger(__name__)

LEAST_SHARE = 0.5  # of its tensors that a detector takes from the weights of another one
TRAINING_ONLY = ".class_weight"  # of the federated loss; inference does not read it


@checked()
def build_model(
    config: Config | StrPath, *, weights: StrPath | None = None, device: str | None = "cpu"
) -> Detector:
    """Build a detector in training mode.

    Args:
        config: a `Config`, the path of a config file, or the name of a packaged config.
        weights: a weights file (docs/backbones.md lists the kinds) or zoo:NAME of a published
            model, which is downloaded; None: random weights. One of our checkpoints also sets the
            classes; a config that states another number is an error.
        device: None: MODEL.DEVICE; if this machine does not have it, the best available device.
    """
    options = as_config(config)
    model, file, report = _build_and_load(options, weights)
    if file and report and not file.is_backbone and report.share < LEAST_SHARE:
        raise WeightsError(
            f"{weights} ({_source_of(file)}) is of another model than {options.name}: "
            f"{report.sentence()}"
        )
    return place(model, device_for(options, device))


@checked()
def load_model(
    weights: StrPath, overrides: Overrides = (), *, device: str | None = "cpu"
) -> Detector:
    """Load a detector from one of our checkpoints or zoo:NAME, in evaluation mode.

    It is built from the config that it was trained with, and overrides as of `load_config`.
    """
    if str(weights).startswith(ZOO_PREFIX):
        return _load_published(zoo_model(str(weights)), overrides, device)
    checkpoint = load_checkpoint(find_checkpoint(weights))
    config = config_of(checkpoint.info).override(overrides)
    model = build_detector(config)
    source = f"trained with {checkpoint.info.config_name}"
    _require_whole(load_state(model, checkpoint.weights), str(weights), source, config)
    _take_labels(model, checkpoint.info)
    return place(model.eval(), device_for(config, device))


def device_for(config: Config, name: str | None) -> torch.device:
    """Return the named device; without a name MODEL.DEVICE, or the best one available.

    A MODEL.DEVICE that this machine lacks is ignored, and logged if the config changes it.
    """
    if name is not None:
        return choose_device(name)
    wanted = config.model.device
    try:
        return choose_device(wanted)
    except ValueError as error:
        best = choose_device(None)
        if wanted != ModelOptions.device:  # not the default
            logger.warning("MODEL.DEVICE: %s; using %s", error, best)
        return best


def place(model: Detector, device: torch.device) -> Detector:
    """Move a model to a device, in its fastest memory format there."""
    return convert_memory_format(model.to(device), fast_memory_format(model, device))


class _Loaded(NamedTuple):
    model: Detector
    file: WeightsFile | None  # None: the weights are random
    report: LoadReport | None


def _build_and_load(config: Config, weights: StrPath | None) -> _Loaded:
    """Build a detector, in training mode on the CPU, and load the weights that fit."""
    file = read_initial_weights(config, weights)
    checkpoint = None if file is None else file.checkpoint
    if checkpoint is not None:
        config = set_num_classes(config, len(checkpoint.info.class_names), owner=str(weights))
    config = fit_to_weights(config, file)
    model = build_detector(config, image_counts=image_counts_of_file(config))
    report = None if file is None else load_weights(model, file)
    if checkpoint is not None:
        _take_labels(model, checkpoint.info)
    return _Loaded(model, file, report)


def _build_whole(config: Config, weights: StrPath, device: str | None) -> Detector:
    """Build a detector in evaluation mode from weights that must fill all of it."""
    model, file, report = _build_and_load(config, weights)
    if file and report:
        _require_whole(report, str(weights), _source_of(file), config)
    return place(model.eval(), device_for(config, device))


def _require_whole(report: LoadReport, origin: str, source: str, config: Config) -> None:
    """Raise WeightsError if a part of the model keeps its random weights."""
    unfit = [*report.mismatched, *report.reinitialized]
    if any(not name.endswith(TRAINING_ONLY) for name in unfit):
        raise WeightsError(
            f"{origin} ({source}) does not hold all weights of the model ({config.name}): "
            f"{report.sentence()}; give a file that was trained with this config, or another "
            "--config-file, and leave out overrides that change the network"
        )


def _source_of(file: WeightsFile) -> str:
    """Describe what a weights file was made with."""
    if file.checkpoint is not None:
        return f"trained with {file.checkpoint.info.config_name}"
    return "a backbone alone" if file.is_backbone else "a checkpoint of the reference"


def _take_labels(model: Detector, source: ModelInfo) -> None:
    """Take the class names, the score thresholds and the calibration of a checkpoint."""
    model.info = replace(
        model.info,
        class_names=source.class_names,
        score_thresholds=source.score_thresholds,
        calibration=source.calibration,
    )
    if model.roi_heads is not None:
        model.roi_heads.selection.calibration = source.calibration


def _load_published(published: ZooModel, overrides: Overrides, device: str | None) -> Detector:
    config = load_config(published.config, overrides)
    model = _build_whole(config, f"{ZOO_PREFIX}{published.name}", device)
    model.info = replace(model.info, class_names=published.class_names)
    return model


@checked()
def load_for_inference(
    weights: StrPath,
    overrides: Overrides = (),
    *,
    config: Config | StrPath | None = None,
    device: str | None = None,
    dtype: str = "fp32",
    compile: bool = False,
) -> Detector:
    """Load a detector and optimize it for inference.

    Args:
        weights: one of our checkpoints or zoo:NAME; with a config, any file that `build_model`
            accepts.
        overrides: in the form that `load_config` takes.
        config: for weights files without a config.
        device: None: MODEL.DEVICE; if this machine does not have it, the best available device.
        dtype, compile: see `optimize_for_inference`.
    """
    model = load_detector(weights, overrides, config=config, device=device)
    return optimize_for_inference(model, dtype=dtype, compile=compile)


def load_detector(
    weights: StrPath,
    overrides: Overrides = (),
    *,
    config: Config | StrPath | None = None,
    device: str | None = None,
) -> Detector:
    """Load a detector in evaluation mode; arguments as for `load_for_inference`."""
    if config is None:
        return load_model(weights, overrides, device=device)
    return _build_whole(as_config(config).override(overrides), weights, device)


def as_config(config: Config | StrPath) -> Config:
    """Return a config as it is; load one from a file or by a packaged name."""
    return config if isinstance(config, Config) else load_config(config)


def config_of(info: ModelInfo) -> Config:
    """Parse the config that a model was built from.

    Raises:
        ConfigError: the model was not built from a config.
    """
    if not info.config:
        raise ConfigError("the model was not built from a config; pass one as `config`")
    return _parse(info.config, info.config_name)


_parse = lru_cache(maxsize=1)(parse_config)  # a predictor asks twice


def stored_config(weights: StrPath) -> Config:
    """Return the config that weights name or hold."""
    if str(weights).startswith(ZOO_PREFIX):
        return load_config(zoo_model(str(weights)).config)
    return config_of(load_info(find_checkpoint(weights)))


def set_num_classes(config: Config, count: int, *, owner: str) -> Config:
    """Set the number of classes; a config that states another number is an error.

    Args:
        owner: data set or file with these classes, for the message.
    """
    for key in CLASS_KEYS:
        if key in config.stated and config[key] != count:
            raise ConfigError(
                f"{key} is {config[key]}, but {owner} has {counted(count, 'class')}; "
                "leave the option out to use that number"
            )
    return config.replace(dict.fromkeys(CLASS_KEYS, count))
