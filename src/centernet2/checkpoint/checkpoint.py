"""Write and read checkpoints; each file is written whole or not at all."""

import hashlib
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from centernet2.checkpoint.names import to_reference
from centernet2.checkpoint.weights_file import (
    WeightsError,
    find_tensors,
    read_content,
    require_weight,
)
from centernet2.files import open_atomic
from centernet2.structures import ModelInfo, ScoreCalibration, TestSize

logger = logging.getLogger(__name__)

FORMAT = "centernet2"  # identifies our checkpoints
FINAL_FILE, BEST_FILE = "model_final.pth", "model_best.pth"  # of a training run
ADDED = {"calibration": None, "origin": None}  # keys that files of earlier releases lack
NEEDED: Mapping[str, type | tuple[type, ...]] = {  # other keys, and the type of each value
    **dict.fromkeys(("model", "metrics", "test_size"), dict),
    **dict.fromkeys(("class_names", "score_thresholds"), (tuple, list)),
    **dict.fromkeys(("config", "config_name"), str),
    "iteration": int,
}
NUMBERED = re.compile(r"model_(\d{7,})\.pth")


@dataclass(frozen=True)
class Checkpoint:
    """Content of one of our checkpoints. The fields of `info` are keys of the file."""

    weights: Mapping[str, Tensor]
    info: ModelInfo
    iteration: int  # steps done
    metrics: Mapping[str, float]  # from the evaluation of these weights
    training: Mapping[str, Any] | None = None  # of run_state.RunState; None: cannot be resumed
    origin: Mapping[str, Any] | None = None  # how it was trained, for its card; None: unknown


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; after a crash, the file is the old one or the new one."""
    content = {
        "format": FORMAT,
        "version": 1,
        "model": dict(checkpoint.weights),
        **asdict(checkpoint.info),
        "iteration": checkpoint.iteration,
        "metrics": dict(checkpoint.metrics),
        "training": checkpoint.training,
        "origin": checkpoint.origin,
    }
    _save(path, content)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read one of our checkpoints, or that of a training run's folder."""
    return parse_checkpoint(*_read(path))


def load_info(path: Path) -> ModelInfo:
    """Read what a checkpoint says about its model; its weights stay on disk."""
    return _parse(*_read(path)).info


def _read(path: Path) -> tuple[Mapping[str, Any], str]:
    """Return the content of a checkpoint, and its path for messages."""
    path = find_in_run(path)
    content = read_content(path)
    if not is_checkpoint(content):
        find_tensors(content, path)  # another error if there are none
        raise WeightsError(f"{path} is not a checkpoint of centernet2; give its --config-file too")
    return content, str(path)


def load_equal(
    path: Path, weights: Mapping[str, Tensor], *, resumable: bool | None = None
) -> Checkpoint | None:
    """Read a checkpoint with exactly these weights; None: the file is no such one.

    If `resumable` is given, it must hold the state of a training run, too, or must not.
    """
    try:
        saved = load_checkpoint(path)
    except (OSError, ValueError):  # missing or damaged
        return None
    if resumable not in (None, saved.training is not None):
        return None
    is_equal = saved.weights.keys() == weights.keys() and all(
        torch.equal(saved.weights[name], tensor.cpu()) for name, tensor in weights.items()
    )
    return saved if is_equal else None


def digest_of(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the names, types, shapes and values of weights."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        # a copy: numpy would hold on to the memory of a sharded weight
        tensor = weights[name].detach().cpu().clone(memory_format=torch.contiguous_format)
        digest.update(f"{name} {tensor.dtype} {[*tensor.shape]}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def is_checkpoint(content: object) -> bool:
    """Whether the content of a file is one of our checkpoints."""
    return isinstance(content, dict) and content.get("format") == FORMAT


def parse_checkpoint(content: Mapping[str, Any], origin: str) -> Checkpoint:
    """Parse the content of one of our checkpoints; errors name its origin."""
    checkpoint = _parse(content, origin)
    for name, tensor in checkpoint.weights.items():
        require_weight(tensor, name, origin)
    return checkpoint


def _parse(content: Mapping[str, Any], origin: str) -> Checkpoint:
    content = {**ADDED, **content}
    unfit = [key for key, kind in NEEDED.items() if not isinstance(content.get(key), kind)]
    if unfit or not _holds_tensors(content["model"]):
        raise WeightsError(
            f"{origin} was written by another version of centernet2, or changed: its "
            f"'{[*unfit, 'model'][0]}' is missing or of another kind"
        )
    try:
        info = {field.name: content[field.name] for field in fields(ModelInfo)}
        info["test_size"] = TestSize(**info["test_size"])
        if info["calibration"] is not None:
            info["calibration"] = ScoreCalibration(**info["calibration"])
        return Checkpoint(
            weights=content["model"],
            info=ModelInfo(**info),
            iteration=content["iteration"],
            metrics=content["metrics"],
            training=content["training"],
            origin=content["origin"],
        )
    except (KeyError, TypeError) as error:
        raise WeightsError(
            f"{origin} was written by another version of centernet2 ({error})"
        ) from None


def _holds_tensors(weights: Mapping[Any, Any]) -> bool:
    return all(isinstance(name, str) and isinstance(own, Tensor) for name, own in weights.items())


def export_reference_checkpoint(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a checkpoint that the reference implementation can load."""
    state = {
        name: tensor.detach().cpu().clone()
        for name, tensor in to_reference(model.state_dict()).items()
    }
    if has_one_stage(model):
        preprocess: Any = model.preprocess
        state |= {"pixel_mean": preprocess.mean.cpu(), "pixel_std": preprocess.std.cpu()}
    _save(Path(path), {"model": state, "__author__": "centernet2"})


def has_one_stage(model: nn.Module) -> bool:
    """Whether a model is a detector without RoI heads."""
    return hasattr(model, "preprocess") and getattr(model, "roi_heads", None) is None


def _save(path: Path, content: Mapping[str, Any]) -> None:
    with open_atomic(path, durable=True) as file:
        try:
            torch.save(_on_host(dict(content)), file)
        except RuntimeError as error:  # PyTorch hides that the disk is full
            cause = error.__context__
            raise (cause if isinstance(cause, OSError) else error) from None


def _on_host(content: Any) -> Any:
    """Copy the tensors of a checkpoint to the host.

    torch-npu writes those of its device as calls of a function that PyTorch refuses to run.
    """
    if isinstance(content, Tensor):
        return content.cpu()
    if isinstance(content, dict):
        return {key: _on_host(value) for key, value in content.items()}
    if type(content) in (list, tuple):
        return type(content)(map(_on_host, content))
    return content


def numbered_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints with an iteration in their name, oldest first."""
    matches = {path: NUMBERED.fullmatch(path.name) for path in folder.glob("model_*.pth")}
    steps = {path: int(match[1]) for path, match in matches.items() if match}
    return sorted(steps, key=lambda path: steps[path])


def find_in_run(path: Path) -> Path:
    """Return the checkpoint in the output folder of a training run; files as they are."""
    if not path.is_dir():
        return path
    found = checkpoints_in_run(path)
    if not found:
        raise WeightsError(
            f"{path} is a folder without a checkpoint ({FINAL_FILE}, {BEST_FILE} or "
            "model_0001000.pth); give a weights file or the output folder of a training run"
        )
    logger.info("weights: %s", found[0])
    return found[0]


def checkpoints_in_run(folder: Path) -> list[Path]:
    """Return the checkpoints of a run: of the last step, the best, the newest."""
    named = [folder / name for name in (FINAL_FILE, BEST_FILE)]
    return [each for each in named if each.is_file()] + numbered_checkpoints(folder)[::-1]


def last_checkpoint(folder: Path) -> tuple[Path, Checkpoint] | None:
    """Read the newest numbered checkpoint; damaged ones are skipped with a warning.

    Raises:
        WeightsError: there are checkpoints, but all are damaged.
    """
    paths = numbered_checkpoints(folder)
    for path in reversed(paths):
        try:
            return path, load_checkpoint(path)
        except WeightsError as error:
            logger.warning("%s; trying the one before it", error)
    if paths:
        raise WeightsError(
            f"no checkpoint in {folder} can be read; to start over, train without --resume"
        )
    return None


def set_aside_checkpoints(folder: Path, *, after: int) -> None:
    """Rename later checkpoints, such as damaged ones, to *.old.

    Otherwise a resumed run would treat them as its newest checkpoints and delete its own.
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
        logger.warning("%s holds checkpoints of later steps; renamed to *.old: %s", folder, names)
