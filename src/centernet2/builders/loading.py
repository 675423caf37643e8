"""Models from settings and weights files."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from centernet2.builders.initial_weights import find_weights, load_initial_weights, suit_weights
from centernet2.builders.network import build_augmented, build_detector
from centernet2.checkpoint.formats import WeightsError
from centernet2.checkpoint.load import load_state
from centernet2.checkpoint.save import info_of, is_checkpoint, load_checkpoint
from centernet2.config import Config, ConfigError, load_config, parse_config
from centernet2.devices import (
    DTYPES,
    choose_device,
    device_name,
    is_bf16_fast,
    keep_freed_memory,
    memory_format,
    require_compiler,
)
from centernet2.layers.frozen import NormalisedConv2d, fold_frozen_norms
from centernet2.layers.norm import convert_norm
from centernet2.layers.winograd import transform_convolutions
from centernet2.models.checkpointing import recompute_expansions, recompute_norms, recompute_stages
from centernet2.models.detector import Detector
from centernet2.predictor import Predictor
from centernet2.structures import ModelInfo
from centernet2.zoo.published import PREFIX, ZooModel, zoo_model

logger = logging.getLogger(__name__)

CLASS_KEYS = ("MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.CENTERNET.NUM_CLASSES")
StrPath = str | os.PathLike[str]


def build_model(
    config: Config | StrPath, *, weights: StrPath | None = None, device: str | None = "cpu"
) -> Detector:
    """A detector in training mode.

    Args:
        config: settings, the path of a configuration file, or the name of a packaged one.
        weights: file to fill it from (see the README for the kinds), or zoo:NAME of a published model, which is
            downloaded; none leaves it untrained. One of our checkpoints brings its classes along, which settings may
            not contradict.
        device: where to put it; None: the best there is.
    """
    settings = resolve(config)
    path = find_weights(weights)
    checkpoint = load_checkpoint(path) if path is not None and is_checkpoint(path) else None
    if checkpoint is not None:
        settings = with_classes(settings, len(checkpoint["class_names"]), owner=str(weights))
    else:
        settings = suit_weights(settings, path)
    model = build_detector(settings)
    if checkpoint is not None:
        logger.info("weights of %s:\n%s", weights, load_state(model, checkpoint["model"]))
        model.info = _with_labels(model.info, info_of(checkpoint))
    else:
        load_initial_weights(model, settings, path)
    return place(model, device)


def load_model(
    weights: StrPath, overrides: Sequence[str] = (), *, device: str | None = "cpu"
) -> Detector:
    """The detector of one of our checkpoints, or zoo:NAME, in evaluation mode, with the settings that it was trained
    with. See `speed_up` for what makes it faster.
    """
    if str(weights).startswith(PREFIX):
        return _load_published(zoo_model(str(weights)), overrides, device)
    checkpoint = load_checkpoint(Path(weights))
    info = info_of(checkpoint)
    model = build_detector(config_of(info).override(overrides))
    report = load_state(model, checkpoint["model"])
    if report.reinitialized or report.mismatched:
        raise WeightsError(
            f"{weights} does not fill the model that its settings and the options describe:\n{report}"
        )
    model.info = _with_labels(model.info, info)
    return place(model.eval(), device)


def place(model: Detector, device: str | None) -> Detector:
    """The model on a device (None: the best there is), its weights as they should lie there."""
    chosen = choose_device(device)
    return model.to(chosen).to(memory_format=memory_format(model, chosen))


def speed_up(model: Detector, *, dtype: str = "fp32", compile: bool = False) -> Detector:
    """Lets a detector find objects faster, in place; it can no longer be trained or saved.

    Normalisation becomes a part of the convolutions. On the CPU the process keeps from here on the memory that it has
    once had, and float32 weights of large convolutions lie as Winograd's algorithm takes them, four times as large.

    Args:
        dtype: bf16 or fp16: matrix products and convolutions in that format, as in mixed precision training.
        compile: torch.compile the parts that look at every pixel. It takes a compiler for the device (on the CPU a C++
            compiler), half a minute at the first image, and again for the first image of another size.
    """
    if dtype not in DTYPES:
        raise ValueError(f"the dtype is '{dtype}'; choose one of {', '.join(DTYPES)}")
    device = model.preprocess.mean.device
    if compile:
        require_compiler(device)
    if dtype == "bf16" and not is_bf16_fast(device):
        logger.warning(
            "%s only emulates bf16, which is slow: fp32 is faster here", device_name(device)
        )
    model.inference_dtype = DTYPES[dtype]
    convert_norm(model, "FrozenBN")
    fold_frozen_norms(model)
    for layer in model.modules():
        if isinstance(layer, NormalisedConv2d):
            layer.settle()
        if isinstance(layer, NormalisedConv2d | nn.Linear):
            layer.to(DTYPES[dtype])  # nearly all weights, which autocast would convert each time
    if device.type == "cpu" and dtype == "fp32":
        transform_convolutions(model)
    for part in (model.backbone, model.neck, model.proposal_generator.head) if compile else ():
        part.compile()
    keep_freed_memory(device)  # now, so that what has been replaced is given back
    return model


def recompute_maps(model: Detector, device: torch.device, *, whole_stages: bool) -> None:
    """Lets a training on a device keep fewer maps, in place: without those that cost hardly any time to compute again,
    or without all between the stages of the backbone. Not for compiled parts: the compiler chooses by itself.
    """
    recompute_norms(model.proposal_generator.head.towers)
    if whole_stages:
        recompute_stages(model.backbone)
    elif device.type == "cpu":  # an accelerator would wait for the choice among operators
        recompute_expansions(model.backbone)


def _with_labels(info: ModelInfo, source: ModelInfo) -> ModelInfo:
    """Info with the class names and thresholds of a source."""
    return replace(info, class_names=source.class_names, score_thresholds=source.score_thresholds)


def _load_published(published: ZooModel, overrides: Sequence[str], device: str | None) -> Detector:
    config = load_config(published.config, overrides)
    model = build_model(config, weights=f"{PREFIX}{published.name}", device=device)
    if config[CLASS_KEYS[model.roi_heads is None]] == len(published.class_names):
        model.info = replace(model.info, class_names=published.class_names)
    return model.eval()


def load_predictor(
    weights: StrPath,
    overrides: Sequence[str] = (),
    *,
    device: str | None = None,
    dtype: str = "fp32",
    compile: bool = False,
) -> Predictor:
    """A predictor from one of our checkpoints alone, or from zoo:NAME; with TEST.AUG.ENABLED it looks several times.

    See `speed_up` for `dtype` and `compile`.
    """
    model = speed_up(load_model(weights, overrides, device=device), dtype=dtype, compile=compile)
    config = config_of(model.info)
    if config.test_augmentation.enabled:
        return Predictor(build_augmented(config, model))
    return Predictor(model)


def resolve(config: Config | StrPath) -> Config:
    """Settings, wherever they come from."""
    return config if isinstance(config, Config) else load_config(config)


def config_of(info: ModelInfo) -> Config:
    """Parse the configuration that a model was built from.

    Raises:
        ConfigError: the model was not built from one.
    """
    if not info.config:
        raise ConfigError("the model was not built from a configuration; pass one as `config`")
    return parse_config(info.config, info.config_name)


def with_classes(config: Config, count: int, *, owner: str) -> Config:
    """The settings with the owner's number of classes; settings that state another number are refused."""
    for key in CLASS_KEYS:
        if key in config.stated and config[key] != count:
            raise ConfigError(
                f"{key} is {config[key]}, but {owner} has {count} classes; leave the option out to take that number"
            )
    return config.replace(dict.fromkeys(CLASS_KEYS, count))
