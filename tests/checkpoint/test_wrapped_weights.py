"""Weights as training programs save them: under keys, with prefixes, beside other objects."""

import argparse
import collections
import logging
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from centernet2.builders.detector.initial_weights import find_checkpoint, find_weights
from centernet2.checkpoint import (
    Checkpoint,
    WeightsError,
    load_checkpoint,
    read_weights,
    save_checkpoint,
)
from centernet2.structures import ModelInfo

WEIGHTS = {
    "backbone.bottom_up.stem.conv1.weight": torch.arange(6.0).reshape(2, 3),
    "roi_heads.box_predictor.0.cls_score.bias": torch.ones(3),
    "pixel_mean": torch.zeros(3),
}
BACKBONE = {"conv1.weight": torch.ones(2, 3), "layer1.0.bn1.weight": torch.ones(2)}
Weights = dict[str, Tensor]


class Settings(dict[str, Any]):
    """Stands for a config of another package."""


def prefixed(prefix: str, weights: Weights = WEIGHTS) -> Weights:
    return {f"{prefix}{name}": tensor for name, tensor in weights.items()}


def require_equal(path: Path, weights: Weights = WEIGHTS) -> None:
    read = read_weights(path).tensors
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in weights.items())


@pytest.mark.parametrize("weights", [WEIGHTS, BACKBONE])
@pytest.mark.parametrize("prefix", [
    "", "module.", "_orig_mod.", "module._orig_mod.", "model.", "net.", "model._orig_mod.",
    "_orig_mod.module.", "_fsdp_wrapped_module.",
])  # fmt: skip
def test_prefixes_of_wrappers_are_left_out(tmp_path: Path, prefix: str, weights: Weights) -> None:
    torch.save({"state_dict": prefixed(prefix, weights)}, tmp_path / "w.ckpt")
    require_equal(tmp_path / "w.ckpt", weights)


def test_compiled_parts_are_known(tmp_path: Path) -> None:
    compiled = {name.replace("bottom_up", "bottom_up._orig_mod"): t for name, t in WEIGHTS.items()}
    torch.save(compiled, tmp_path / "w.pth")
    require_equal(tmp_path / "w.pth")


@pytest.mark.parametrize("wrap", [
    lambda w: {"model": w, "ema": {"module": prefixed("", w)}, "epoch": 3},
    lambda w: {"state_dict": w}, lambda w: {"model_state_dict": w}, lambda w: {"ema_state": w},
    lambda w: {"ema": {"module": w, "updates": 7}}, lambda w: {"model": None, "model_ema": w},
    lambda w: {"model": {}, "net": w}, lambda w: {"model": {"state_dict": w}},
])  # fmt: skip
def test_keys_of_training_programs(tmp_path: Path, wrap: Callable[[Weights], object]) -> None:
    torch.save(wrap(WEIGHTS), tmp_path / "w.pth")
    require_equal(tmp_path / "w.pth")


def test_first_of_several_detectors_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = {name: tensor + 1 for name, tensor in WEIGHTS.items()}
    torch.save({**prefixed("teacher."), **prefixed("student.", other)}, tmp_path / "w.pth")
    read = read_weights(tmp_path / "w.pth").tensors
    assert all(torch.equal(read[name], tensor) for name, tensor in WEIGHTS.items())
    assert "several detectors (teacher., student.); the first is used" in caplog.text


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("other", [
    np.float64(0.5), np.arange(3), argparse.Namespace(lr=1), Path("runs"), Settings(lr=1),
    collections.defaultdict(list, a=[1]), {Path("a"): [Settings()]}, torch.float16,
])  # fmt: skip
def test_other_objects_are_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, other: object, zipped: bool
) -> None:
    path = tmp_path / "w.pth"
    content = {"args": other, "model": WEIGHTS}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with caplog.at_level(logging.INFO):
        require_equal(path)
    if isinstance(other, argparse.Namespace):
        assert "w.pth: not read: argparse.Namespace" in caplog.text


class Writer:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    torch.save({"model": WEIGHTS, "args": Writer(tmp_path / "written")}, tmp_path / "w.pth")
    with suppress(WeightsError):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "written").exists()


def test_arrays_in_files_of_torch_are_weights(tmp_path: Path) -> None:
    torch.save({"model": {n: t.numpy() for n, t in WEIGHTS.items()}}, tmp_path / "w.pth")
    require_equal(tmp_path / "w.pth")


def test_content_tells_the_kind_of_a_file(tmp_path: Path) -> None:
    for name in ("w.bin", "w.pth", "w.SAFETENSORS"):
        save_file(WEIGHTS, tmp_path / name)
        require_equal(tmp_path / name)
    arrays = {name: tensor.numpy() for name, tensor in WEIGHTS.items()}
    for name in ("w.PKL", "v.pth"):
        (tmp_path / name).write_bytes(pickle.dumps({"model": arrays}))
        require_equal(tmp_path / name)
    torch.save(WEIGHTS, tmp_path / "old.pkl", _use_new_zipfile_serialization=False)
    require_equal(tmp_path / "old.pkl")


@pytest.mark.parametrize(("content", "kind"), [
    (b"version https://git-lfs", "a pointer of Git LFS"), (b"<html>", "a web page"),
    (b"\xff" * 50, "no whole file of safetensors"), (b"", "an empty file"),
])  # fmt: skip
def test_damaged_safetensors_are_named(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"w\.safetensors is {kind}"):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize(("value", "reason"), [
    (torch.tensor([[1.0, float("nan")]]), "NaN or infinite"),
    (torch.tensor([[1.0, float("inf")]]).half(), "NaN or infinite"),
    (torch.ones(2, 2, dtype=torch.int8), "no weight"),
    (torch.ones(2, 2, dtype=torch.complex64), "no weight"),
])  # fmt: skip
def test_values_that_are_no_weights_are_refused(tmp_path: Path, value: Tensor, reason: str) -> None:
    torch.save({"backbone.conv": value}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=rf"w\.pth: its 'backbone\.conv' .*{reason}"):
        read_weights(tmp_path / "w.pth")


def test_large_sums_are_finite_weights(tmp_path: Path) -> None:
    save_file({"backbone.conv": torch.full((4, 4), 6e4).half()}, tmp_path / "w.safetensors")
    assert read_weights(tmp_path / "w.safetensors").tensors


def test_sparse_and_quantized_weights_become_dense(tmp_path: Path) -> None:
    own = WEIGHTS["backbone.bottom_up.stem.conv1.weight"]
    torch.save({**WEIGHTS, "backbone.bottom_up.stem.conv1.weight": own.to_sparse()}, tmp_path / "w")
    require_equal(tmp_path / "w")


def test_checkpoint_of_a_diverged_run_is_refused(tmp_path: Path) -> None:
    weights = {"a": torch.tensor([float("nan")])}
    save_checkpoint(tmp_path / "model.pth", Checkpoint(weights, ModelInfo(), 1, {}))
    with pytest.raises(WeightsError, match=r"model\.pth: its 'a' has values that are NaN"):
        load_checkpoint(tmp_path / "model.pth")


def test_file_without_weights_says_what_it_holds(tmp_path: Path) -> None:
    torch.save({"state": {}, "param_groups": []}, tmp_path / "optimizer.pth")
    with pytest.raises(WeightsError, match="holds no weights among state, param_groups"):
        read_weights(tmp_path / "optimizer.pth")


@pytest.mark.parametrize("find", [find_weights, find_checkpoint])
def test_addresses_are_not_downloaded(find: Callable[[str], Path]) -> None:
    with pytest.raises(WeightsError, match=r"https://x\.org/w\.pth is an address.*download it"):
        find("https://x.org/w.pth")
