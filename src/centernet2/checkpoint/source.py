"""The content of a weights file: tensors, naming scheme, checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from centernet2.checkpoint.checkpoint import (
    Checkpoint,
    find_in_run,
    is_checkpoint,
    parse_checkpoint,
)
from centernet2.checkpoint.weights_file import caffe2_to_reference, find_tensors, read_content
from centernet2.checkpoint.wrappers import PARTS

Kind = Literal["centernet2", "reference", "caffe2", "detectron2", "network"]


@dataclass(frozen=True)
class WeightsFile:
    """Content of a weights file.

    Its kind is "centernet2" (ours) or "reference"; for a backbone alone "caffe2" (renamed to the
    reference's names), "detectron2" (suffixes of the reference's names, to be matched) or "network"
    (names of timm, torchvision or its authors).
    """

    origin: str  # name of the file in messages
    kind: Kind
    tensors: Mapping[str, Tensor]  # by the names of that kind
    checkpoint: Checkpoint | None = None  # the whole content, if it is one of our checkpoints

    @property
    def is_backbone(self) -> bool:
        """Whether the file holds a backbone alone."""
        return self.kind in ("caffe2", "detectron2", "network")


def read_weights(path: Path) -> WeightsFile:
    """Read a .pth, .safetensors or .pkl file of any kind; errors name it.

    A folder is that of a training run, whose checkpoint is read.
    """
    path = find_in_run(path)
    content, origin = read_content(path), str(path)
    if is_checkpoint(content):
        checkpoint = parse_checkpoint(content, origin)
        return WeightsFile(origin, "centernet2", checkpoint.weights, checkpoint)
    tensors = find_tensors(content, path)
    if any(name.endswith("_bn_s") for name in tensors) or "conv1_w" in tensors:
        return WeightsFile(origin, "caffe2", caffe2_to_reference(tensors))
    if isinstance(content, dict) and content.get("matching_heuristics"):
        return WeightsFile(origin, "detectron2", tensors)
    is_detector = any(name.startswith(PARTS) for name in tensors)
    return WeightsFile(origin, "reference" if is_detector else "network", tensors)
