"""The settings that belong to the weights that a model starts from."""

import logging
from pathlib import Path
from typing import Any

from centernet2.checkpoint.formats import read_weights
from centernet2.config import Config

logger = logging.getLogger(__name__)

STRIDE = "MODEL.RESNETS.STRIDE_IN_1X1"
NORMALISATION = ("INPUT.FORMAT", "MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD")
IMAGENET = ("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # torchvision's, in 0..255


def suit_weights(config: Config, path: Path) -> Config:
    """The settings with what a residual backbone of torchvision or timm was trained with, where they do not say it.

    Such a network has its strides in the 3x3 convolutions and has seen normalised RGB images; the defaults are those of
    Caffe2's backbones. Other files leave the settings as they are.
    """
    if "res" not in config.model.backbone or read_weights(path).kind != "network":
        return config
    return _set(config, {STRIDE: False} | dict(zip(NORMALISATION, IMAGENET, strict=True)), path)


def keep_suited(config: Config, before: Config) -> Config:
    """The settings of a run that goes on, with what its first weights have set before and these settings do not say."""
    return config.replace({key: before[key] for key in (STRIDE, *NORMALISATION) if key not in config.stated})


def _set(config: Config, wanted: dict[str, Any], path: Path) -> Config:
    """The settings with the wanted ones; of those that are stated none changes, and the normalisation goes together."""
    kept = config.stated & set(wanted)
    kept |= set(NORMALISATION) if kept & set(NORMALISATION) else set()
    different = {key: value for key, value in wanted.items() if config[key] != value}
    changes = {key: value for key, value in different.items() if key not in kept}
    if changes:
        logger.warning("set, because %s was trained so: %s", path, _pairs(changes))
    if len(changes) < len(different):
        left = {key: value for key, value in different.items() if key not in changes}
        logger.warning("%s was trained with %s; the settings say otherwise and are kept", path, _pairs(left))
    return config.replace(changes)


def _pairs(values: dict[str, Any]) -> str:
    return " ".join(f"{key} {value}" for key, value in values.items())
