"""Read and write checkpoints, and read weights of the reference and of backbones."""

from centernet2.checkpoint.checkpoint import (
    Checkpoint,
    export_reference_checkpoint,
    holds_weights,
    load_checkpoint,
    save_checkpoint,
)
from centernet2.checkpoint.filling import load_weights
from centernet2.checkpoint.source import WeightsFile, read_weights
from centernet2.checkpoint.weights_file import WeightsError, is_json_file, is_readable_name

__all__ = [
    "Checkpoint",
    "WeightsError",
    "WeightsFile",
    "export_reference_checkpoint",
    "holds_weights",
    "is_json_file",
    "is_readable_name",
    "load_checkpoint",
    "load_weights",
    "read_weights",
    "save_checkpoint",
]
