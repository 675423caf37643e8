"""The weights that a model starts from, and the settings that belong to them."""

import logging
import os
from pathlib import Path
from typing import Any

from centernet2.checkpoint.formats import WeightsError, WeightsFile, read_weights
from centernet2.checkpoint.load import fill, load_weights
from centernet2.config import Config
from centernet2.models.backbones.timm_backbone import pixel_statistics
from centernet2.models.detector import Detector
from centernet2.zoo.download import cached_file, is_address

logger = logging.getLogger(__name__)

STRIDE = "MODEL.RESNETS.STRIDE_IN_1X1"
NORMALISATION = ("INPUT.FORMAT", "MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD")
IMAGENET = ("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # torchvision's, in 0..255


def find_weights(source: str | os.PathLike[str] | None) -> Path | None:
    """The file of a source: a path, zoo:NAME (downloaded if need be) or detectron2://... (from the cache)."""
    if source is None:
        return None
    text = os.fspath(source)
    if not text:
        raise WeightsError(
            "no weights are named; give a file or zoo:NAME with --weights or as MODEL.WEIGHTS"
        )
    return cached_file(text) if is_address(text) else Path(text)


def suit_weights(config: Config, path: Path | None) -> Config:
    """The settings with what a backbone of torchvision or timm was trained with, where they do not say it.

    Such a residual network has its strides in the 3x3 convolutions, and all have seen normalised RGB images; the
    defaults are those of Caffe2's backbones. Other files leave the settings as they are.
    """
    is_timm = config.model.backbone == "timm"
    if path is None:
        wanted = _statistics(config) if starts_from_timm(config) else {}
    elif ("res" not in config.model.backbone and not is_timm) or read_weights(
        path
    ).kind != "network":
        wanted = {}
    else:
        wanted = _statistics(config) if is_timm else {STRIDE: False} | _pixels(IMAGENET)
    return _set(config, wanted, str(path or f"timm's {config.timm.name}"))


def keep_suited(config: Config, before: Config) -> Config:
    """The settings of a run that goes on, with what its first weights have set before and these settings do not say."""
    return config.replace(
        {key: before[key] for key in (STRIDE, *NORMALISATION) if key not in config.stated}
    )


def load_initial_weights(model: Detector, config: Config, path: Path | None) -> None:
    """Fills the model from a file, or its backbone with timm's weights where the settings ask for them."""
    if path is not None:
        load_weights(model, path)
    elif starts_from_timm(config):
        fill(model, _download_from_timm(config.timm.name), f"timm's {config.timm.name}")


def starts_from_timm(config: Config) -> bool:
    """Whether training starts from weights that timm downloads."""
    return config.model.backbone == "timm" and config.timm.pretrained


def _download_from_timm(name: str) -> WeightsFile:
    import timm

    try:
        return WeightsFile(timm.create_model(name, pretrained=True).state_dict(), "network")
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"timm cannot give its weights of '{name}' ({str(error).splitlines()[0]}); "
            "set MODEL.TIMM.PRETRAINED False and give their file with --weights"
        ) from None


def _statistics(config: Config) -> dict[str, Any]:
    return _pixels(("RGB", *pixel_statistics(config.timm.name)))


def _pixels(values: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(NORMALISATION, values, strict=True))


def _set(config: Config, wanted: dict[str, Any], origin: str) -> Config:
    """The settings with the wanted ones; of those that are stated none changes, and the normalisation goes together."""
    kept = config.stated & set(wanted)
    kept |= set(NORMALISATION) if kept & set(NORMALISATION) else set()
    different = {key: value for key, value in wanted.items() if config[key] != value}
    changes = {key: value for key, value in different.items() if key not in kept}
    if changes:
        logger.warning("set, because %s was trained so: %s", origin, _pairs(changes))
    if len(changes) < len(different):
        left = {key: value for key, value in different.items() if key not in changes}
        logger.warning(
            "%s was trained with %s; the settings say otherwise and are kept", origin, _pairs(left)
        )
    return config.replace(changes)


def _pairs(values: dict[str, Any]) -> str:
    return " ".join(f"{key} {value}" for key, value in values.items())
