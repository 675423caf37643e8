"""CenterNet2: probabilistic two-stage object detection (arXiv 2103.07461)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from centernet2.builders.loading import build_model, load_model, load_predictor
    from centernet2.checkpoint import export_reference_checkpoint
    from centernet2.config import Config, ConfigError, load_config
    from centernet2.jobs.evaluate import evaluate
    from centernet2.jobs.train import train
    from centernet2.models.centernet.centernet import CenterNet
    from centernet2.models.centernet.head import CenterNetHead
    from centernet2.models.detector import Detector
    from centernet2.models.optimize import optimize_for_inference, optimize_for_training
    from centernet2.predictor import Predictor

__version__ = "0.1.0"

# Names are imported when they are first used: `import centernet2` must not cost the import of torch.
_HOMES = {
    "CenterNet": "centernet2.models.centernet.centernet",
    "CenterNetHead": "centernet2.models.centernet.head",
    "Config": "centernet2.config",
    "ConfigError": "centernet2.config",
    "Detector": "centernet2.models.detector",
    "Predictor": "centernet2.predictor",
    "build_model": "centernet2.builders.loading",
    "evaluate": "centernet2.jobs.evaluate",
    "export_reference_checkpoint": "centernet2.checkpoint",
    "load_config": "centernet2.config",
    "load_model": "centernet2.builders.loading",
    "load_predictor": "centernet2.builders.loading",
    "optimize_for_inference": "centernet2.models.optimize",
    "optimize_for_training": "centernet2.models.optimize",
    "train": "centernet2.jobs.train",
}

__all__ = [
    "CenterNet",
    "CenterNetHead",
    "Config",
    "ConfigError",
    "Detector",
    "Predictor",
    "build_model",
    "evaluate",
    "export_reference_checkpoint",
    "load_config",
    "load_model",
    "load_predictor",
    "optimize_for_inference",
    "optimize_for_training",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'centernet2' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
