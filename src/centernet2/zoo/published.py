"""The table of published models."""

import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from centernet2.files import cache_folder
from centernet2.spelling import did_you_mean

ZOO_PREFIX = "zoo:"  # before the name of a model whose weights are wanted


class ZooError(ValueError):
    """The published model does not exist or has no weights."""


class ModelCost(NamedTuple):
    """Parameters of a model, and operations on one image."""

    parameters: int
    gflops: float  # two for each multiply-add, of convolutions and matrix products
    height: int  # of the model's input for an image of 480 x 640 pixels, padded
    width: int


class ZooModel(NamedTuple):
    """Facts of a published model."""

    name: str
    config: str  # name of the packaged config
    data: str  # COCO, LVIS, Objects365 or nuImages
    ap: float | None  # box AP in percent on the validation images
    fps: tuple[int, int] | None  # images per second on a Titan Xp and on a Titan RTX
    drive: str | None  # of its file on Google Drive
    note: str
    cost: ModelCost | None

    @property
    def page(self) -> str | None:
        """Address of the weights for a browser."""
        return None if self.drive is None else f"https://drive.google.com/file/d/{self.drive}"

    @property
    def cached_file(self) -> Path:
        """Where the weights are once they are downloaded."""
        return cache_folder() / f"{self.name}.pth"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the labels."""
        return tuple(_read_json("classes.json")[self.data])


@cache
def zoo_models() -> tuple[ZooModel, ...]:
    """All published models, in the reference's order."""
    costs = _read_json("costs.json")
    text = (resources.files("centernet2.zoo") / "models.yaml").read_text(encoding="utf-8")
    return tuple(_model(entry, costs) for entry in yaml.safe_load(text))


def zoo_model(name: str) -> ZooModel:
    """The published model of that name; a prefix zoo: is allowed."""
    models = {model.name: model for model in zoo_models()}
    name = name.removeprefix(ZOO_PREFIX)
    if name not in models:
        hint = did_you_mean(name, models) or "; centernet2 models lists them"
        raise ZooError(f"there is no published model '{name}'{hint}")
    return models[name]


def _model(entry: dict[str, Any], costs: dict[str, dict[str, Any]]) -> ZooModel:
    config = entry.get("config", entry["name"])
    fps = entry.get("fps")
    return ZooModel(
        name=entry["name"],
        config=config,
        data=entry["data"],
        ap=entry.get("ap"),
        fps=None if fps is None else (fps[0], fps[1]),
        drive=entry.get("drive"),
        note=entry.get("note", ""),
        cost=ModelCost(**costs[config]) if config in costs else None,
    )


def _read_json(name: str) -> Any:
    return json.loads((resources.files("centernet2.zoo") / name).read_text(encoding="utf-8"))
