"""Origin of a training run: what repeating it takes, for the card of its weights."""

import hashlib
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from centernet2 import distributed
from centernet2.builders.training.train_command import TrainCommand
from centernet2.checkpoint.checkpoint import digest_of
from centernet2.config import Config
from centernet2.data import DetectionDataset
from centernet2.kernels import device_name
from centernet2.versions import installed_versions

# whose versions may change a weight
PACKAGES = ("centernet2", "torch", "torchvision", "numpy", "pillow", "timm", "accelerate")


def describe_origin(
    command: TrainCommand,
    config: Config,
    sets: Mapping[str, DetectionDataset],
    model: nn.Module,
    device: torch.device,
) -> dict[str, Any]:
    """Return what a training run starts from, for JSON; empty off the main process.

    Args:
        command: what was given or chosen.
        config: options that fit the data; its seed is not negative.
        sets: the data, by split.
        model: with its weights before the first step.
        device: of the run.
    """
    if not distributed.is_main_process():
        return {}
    return {
        "command": command.to_dict(),
        "seed": config.run.seed,
        "data": {split: describe_data(dataset) for split, dataset in sets.items()},
        "initial_weights": digest_of(model.state_dict()),
        "versions": describe_versions(),
        "machine": describe_machine(device),
    }


def describe_data(dataset: DetectionDataset) -> dict[str, Any]:
    """Return the name, counts and SHA-256 of a data set.

    The digest covers annotations, and names and sizes of image files. The pixels are not read: they
    could be many gigabytes.
    """
    digest = hashlib.sha256("\0".join(dataset.class_names).encode())
    for column in (dataset.offsets, dataset.xywh, dataset.labels, dataset.crowd):
        digest.update(np.ascontiguousarray(column).tobytes())
    for i, name in enumerate(dataset.files):
        path = dataset.image_path(i)
        digest.update(
            f"{Path(os.fsdecode(name)).name} {_file_size(path)}\n".encode("utf-8", "replace")
        )
    return {
        "name": dataset.name,
        "images": len(dataset),
        "objects": len(dataset.labels),
        "classes": [*dataset.class_names],
        "sha256": digest.hexdigest(),
    }


def _file_size(path: Path) -> int:
    """Return the size of an image file; -1: missing, in an archive or at an address."""
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def describe_versions() -> dict[str, str]:
    """Return versions that may change a weight, and a digest of the package's source."""
    folder, source = Path(__file__).parents[2], hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        source.update(str(path.relative_to(folder)).encode() + b"\n" + path.read_bytes())
    return {
        "python": platform.python_version(),
        **installed_versions(PACKAGES),
        "source": source.hexdigest()[:16],
    }


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return what of a machine may change a weight."""
    return {
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.machine()}, {platform.system()}",
        "device": f"{device.type}: {device_name(device)}",
        "threads": torch.get_num_threads(),
        "processes": distributed.world_size(),
    }


def _processor() -> str:
    """Return the name of the processor, as far as the system tells it."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text("utf-8", "replace").splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
