"""Checkpoints of a training: complete, written at once or not at all."""

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from centernet2.checkpoint.formats import WeightsError
from centernet2.files import open_atomic, remove_temporary
from centernet2.structures import ModelInfo, TestSize

logger = logging.getLogger(__name__)

NUMBERED = re.compile(r"model_(\d{7,})\.pth")


def save_checkpoint(
    path: Path,
    *,
    weights: Mapping[str, Tensor],
    info: ModelInfo,
    iteration: int,
    metrics: Mapping[str, float],
    training: Mapping[str, Any] | None,
) -> None:
    """Write weights, the model's info, metrics and, to resume, the state of the training run."""
    content = {
        "format": "centernet2",
        "version": 1,
        "model": dict(weights),
        **asdict(info),
        "iteration": iteration,
        "metrics": dict(metrics),
        "training": training,
    }
    _write(path, content)


def info_of(checkpoint: Mapping[str, Any]) -> ModelInfo:
    """Read the model's info from the content of one of our checkpoints."""
    content = {field.name: checkpoint[field.name] for field in fields(ModelInfo)}
    return ModelInfo(**content | {"test_size": TestSize(**content["test_size"])})


def update_checkpoint(path: Path, output: Path, **content: Any) -> None:
    """Writes one of our checkpoints again, to the same file or to another, with some of its content replaced."""
    _write(output, {**load_checkpoint(path), **content})


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_atomic(path, durable=True) as file:
        torch.save(dict(content), file)


def remove_unfinished(folder: Path) -> None:
    """Deletes what a process that was killed while it saved has left behind."""
    remove_temporary(folder, "*.pth.*")


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content of one of our checkpoints."""
    if not path.is_file():
        raise WeightsError(f"there is no checkpoint {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail in any way
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise WeightsError(f"checkpoint {path} cannot be read: {reason}") from None
    if not isinstance(content, dict) or content.get("format") != "centernet2":
        raise WeightsError(f"{path} is no checkpoint of centernet2; give --config-file beside it")
    return content


def is_checkpoint(path: Path) -> bool:
    """Whether a file is one of our checkpoints; of what it holds, only the outline is read."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # no file, another format or a damaged one: whoever reads it will say which
        return False
    return isinstance(content, dict) and content.get("format") == "centernet2"


def numbered_checkpoints(folder: Path) -> list[Path]:
    """The periodic checkpoints of a training, oldest first; model_final.pth and the like are none."""
    found = {path: NUMBERED.fullmatch(path.name) for path in folder.glob("model_*.pth")}
    numbers = {path: int(match[1]) for path, match in found.items() if match}
    return sorted(numbers, key=lambda path: numbers[path])


def last_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint of a training that can be read; a damaged one is passed over with a warning.

    Raises:
        WeightsError: there are checkpoints, and all are damaged.
    """
    paths = numbered_checkpoints(folder)
    for path in reversed(paths):
        try:
            return path, load_checkpoint(path)
        except WeightsError as error:
            logger.warning("%s; the one before it is tried", error)
    if paths:
        raise WeightsError(
            f"no checkpoint in {folder} can be read; to begin anew, train without --resume"
        )
    return None


def set_aside_checkpoints(folder: Path, *, after: int) -> None:
    """Renames numbered checkpoints of later steps, those of an earlier training and damaged ones, to *.old.

    Otherwise they would pass for the newest ones of the training that begins: it would be resumed from them, and its
    own would be deleted as the older ones.
    """
    late = [
        path
        for path in numbered_checkpoints(folder)
        if int(path.stem.removeprefix("model_")) > after
    ]
    for path in late:
        os.replace(path, path.with_name(f"{path.name}.old"))
    if late:
        names = ", ".join(path.name for path in late)
        logger.warning(
            "%s holds other checkpoints than this training's; renamed to *.old: %s", folder, names
        )
