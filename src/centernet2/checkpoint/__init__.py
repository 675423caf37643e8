"""Read and write checkpoints, and read weights of the reference and of backbones."""

from centernet2.checkpoint.formats import WeightsError
from centernet2.checkpoint.load import LoadReport, load_weights
from centernet2.checkpoint.save import (
    Checkpoint,
    export_reference_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from centernet2.checkpoint.source import WeightsFile, read_weights

__all__ = [
    "Checkpoint",
    "LoadReport",
    "WeightsError",
    "WeightsFile",
    "export_reference_checkpoint",
    "load_checkpoint",
    "load_weights",
    "read_weights",
    "save_checkpoint",
]
