"""The command `serve`: options that cannot be used, and the detectors that it loads."""

import builtins
import hashlib
import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from centernet2.builders.detector.predictor_loading import load_predictor
from centernet2.builders.service.serving import load_served
from centernet2.jobs.serve import AccessOptions, QueueOptions, serve
from centernet2.predict.predictor import Predictor
from tests.helpers.jobs import save_untrained


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_untrained(tmp_path_factory.mktemp("run") / "pets.pth")


@pytest.mark.parametrize(("options", "message"), [
    ({"port": 70_000}, "port is 70000; it takes a whole number from 0 to 65535"),
    ({"queue": QueueOptions(batch_size=0)}, "batch_size is 0"),
    ({"queue": QueueOptions(max_wait=-1)}, "max_wait is -1"),
    ({"queue": QueueOptions(timeout=0)}, "timeout is 0"),
    ({"access": AccessOptions(max_megabytes=float("inf"))}, "max_megabytes is inf"),
    ({"access": AccessOptions(camera=["door"])}, "--camera is 'door'; it takes NAME=ADDRESS"),
    ({"port": 0}, "missing.pth"),
    ({"port": 0, "access": AccessOptions(token_file="none.txt")}, "none.txt"),
])  # fmt: skip
def test_wrong_option_is_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, OSError), match=re.escape(message)):
        serve(weights="missing.pth", **options)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    actual = builtins.__import__

    def without(name: str, *words: Any, **options: Any) -> Any:
        if name == "uvicorn":
            raise ImportError(name=name)
        return actual(name, *words, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"package uvicorn; pip install 'centernet2\[serve\]'"):
        serve(weights="missing.pth")


def test_missing_runtime_of_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model.xml", "model.bin"):
        (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ValueError, match=r"openvino cannot be imported .*centernet2\[openvino\]"):
        serve(weights=str(tmp_path / "model.xml"), port=0)


def test_empty_token_file_is_refused(tmp_path: Path, weights: Path) -> None:
    file = tmp_path / "token"
    file.write_text("\n")
    with pytest.raises(ValueError, match="the file of --token-file is empty"):
        serve(weights=str(weights), access=AccessOptions(token_file=str(file)))


def test_models_are_named_and_have_buckets_of_padded_sizes(tmp_path: Path, weights: Path) -> None:
    other = tmp_path / "pets" / "model_final.pth"
    other.parent.mkdir()
    other.symlink_to(weights)
    first, second = load_served([weights, other], batch_size=2, device="cpu")
    assert (first.name, second.name) == ("pets", "pets (2)")
    assert first.bucket_of(64, 64) == first.bucket_of(128, 128)  # resized to one size
    assert first.bucket_of(64, 70) == first.bucket_of(64, 80)  # padded to one size
    assert first.bucket_of(64, 96) != first.bucket_of(64, 64)


def test_thread_that_loads_ends(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMP's threads of two living threads slow each other."""
    loaded_in = []

    def load_and_note(*args: Any, **options: Any) -> Predictor:
        loaded_in.append(threading.current_thread())
        return load_predictor(*args, **options)

    monkeypatch.setattr("centernet2.builders.service.serving.load_predictor", load_and_note)
    load_served([weights], batch_size=1, device="cpu")
    assert [each.is_alive() for each in loaded_in] == [False]


def test_only_approved_weights_are_loaded(tmp_path: Path, weights: Path) -> None:
    approved, digest = tmp_path / "approved.txt", hashlib.sha256(weights.read_bytes()).hexdigest()
    approved.write_text(f"# ours\n{digest}  pets.pth\n")
    (model,) = load_served([weights], approved=approved, batch_size=1, device="cpu")
    assert model.sha256 == digest
    approved.write_text(f"{'0' * 64}\n")
    with pytest.raises(ValueError, match=f"its SHA-256, {digest}, is not in --approved"):
        load_served([weights], approved=approved, batch_size=1, device="cpu")
    approved.write_text("pets.pth\n")
    with pytest.raises(ValueError, match="line 1: this is no SHA-256"):
        load_served([weights], approved=approved, batch_size=1, device="cpu")
    approved.write_text("# none\n")
    with pytest.raises(ValueError, match="the list of approved weights is empty"):
        load_served([weights], approved=approved, batch_size=1, device="cpu")
