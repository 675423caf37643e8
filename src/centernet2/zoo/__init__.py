"""The published models: facts, and their weights."""

from centernet2.zoo.download import DETECTRON2, DownloadError, cached_file, is_address
from centernet2.zoo.published import (
    ZOO_PREFIX,
    ModelCost,
    ZooModel,
    zoo_model,
    zoo_models,
)

__all__ = [
    "DETECTRON2",
    "ZOO_PREFIX",
    "DownloadError",
    "ModelCost",
    "ZooModel",
    "cached_file",
    "is_address",
    "zoo_model",
    "zoo_models",
]
