"""Read and write checkpoints, and read weights of the reference and of backbones."""

from centernet2.checkpoint.checkpoint import Checkpoint as Checkpoint
from centernet2.checkpoint.checkpoint import (
    export_reference_checkpoint as export_reference_checkpoint,
)
from centernet2.checkpoint.checkpoint import load_checkpoint as load_checkpoint
from centernet2.checkpoint.checkpoint import load_equal as load_equal
from centernet2.checkpoint.checkpoint import load_info as load_info
from centernet2.checkpoint.checkpoint import save_checkpoint as save_checkpoint
from centernet2.checkpoint.filling import load_weights as load_weights
from centernet2.checkpoint.source import WeightsFile as WeightsFile
from centernet2.checkpoint.source import read_weights as read_weights
from centernet2.checkpoint.weights_file import WeightsError as WeightsError
from centernet2.checkpoint.weights_file import is_json_file as is_json_file
from centernet2.checkpoint.weights_file import is_readable_name as is_readable_name
