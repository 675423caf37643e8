"""The weights that a model starts from, and the options that belong to them."""

import logging
import os
from pathlib import Path
from typing import Any

from centernet2.builders.network import network_of
from centernet2.checkpoint import WeightsError, WeightsFile, read_weights
from centernet2.config import Config
from centernet2.models.backbones import BACKBONES, pixel_statistics
from centernet2.zoo import cached_file, is_address

logger = logging.getLogger(__name__)

STRIDE = "MODEL.RESNETS.STRIDE_IN_1X1"
NORMALIZATION = ("INPUT.FORMAT", "MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD")
IMAGENET = ("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # torchvision's, in 0..255


def find_weights(source: str | os.PathLike[str]) -> Path:
    """The file of a path, of zoo:NAME (downloaded) or detectron2://... (in the cache)."""
    text = os.fspath(source)
    if not text:
        raise WeightsError(
            "no weights are named; give a file or zoo:NAME with --weights or as MODEL.WEIGHTS"
        )
    return cached_file(text) if is_address(text) else Path(text)


def read_initial_weights(
    config: Config, source: str | os.PathLike[str] | None
) -> WeightsFile | None:
    """Read the weights of a source, or without one those of timm if wanted, or None."""
    if source is not None:
        return read_weights(find_weights(source))
    return read_timm_weights(config.backbone.timm.name) if starts_from_timm(config) else None


def starts_from_timm(config: Config) -> bool:
    """Whether the backbone starts from weights that timm downloads."""
    return config.model.backbone == "timm" and config.backbone.timm.pretrained


def read_timm_weights(name: str) -> WeightsFile:
    """Download the weights of a network of timm, unless they are in its cache."""
    import timm

    try:
        tensors = timm.create_model(name, pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"timm cannot give its weights of '{name}' ({str(error).splitlines()[0]}); "
            "set MODEL.TIMM.PRETRAINED False and give their file with --weights"
        ) from None
    return WeightsFile(f"timm's {name}", "network", tensors)


def fit_to_weights(config: Config, file: WeightsFile | None) -> Config:
    """Set what a backbone of torchvision or timm was trained with, unless stated.

    Such a residual network has its strides in the 3 x 3 convolutions, and all have seen normalized
    RGB images; the defaults are those of Caffe2's backbones. Other files change nothing.
    """
    if file is None or file.kind != "network":
        return config
    if config.model.backbone == "timm":
        return _set_unless_stated(config, _timm_normalization(config), file.origin)
    if BACKBONES[network_of(config).backbone].caffe2_defaults:
        return _set_unless_stated(config, {STRIDE: False} | _normalization(IMAGENET), file.origin)
    return config


def fit_to_previous(config: Config, previous: Config) -> Config:
    """Set what the initial weights of a resumed run had set, unless stated."""
    unstated = [key for key in (STRIDE, *NORMALIZATION) if key not in config.stated]
    return config.replace({key: previous[key] for key in unstated})


def _timm_normalization(config: Config) -> dict[str, Any]:
    return _normalization(("RGB", *pixel_statistics(config.backbone.timm.name)))


def _normalization(values: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(NORMALIZATION, values, strict=True))


def _set_unless_stated(config: Config, wanted: dict[str, Any], origin: str) -> Config:
    """Set options that are not stated; those of normalization together or not at all."""
    kept = config.stated & set(wanted)
    kept |= set(NORMALIZATION) if kept & set(NORMALIZATION) else set()
    different = {key: value for key, value in wanted.items() if config[key] != value}
    changes = {key: value for key, value in different.items() if key not in kept}
    if changes:
        logger.warning("set, because %s was trained so: %s", origin, _pairs(changes))
    if len(changes) < len(different):
        left = {key: value for key, value in different.items() if key not in changes}
        logger.warning(
            "%s was trained with %s; the config says otherwise and is kept", origin, _pairs(left)
        )
    return config.replace(changes)


def _pairs(values: dict[str, Any]) -> str:
    return " ".join(f"{key} {value}" for key, value in values.items())
