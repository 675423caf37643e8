"""A predictor of a file that takes images of one size."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from centernet2.predict import exported_detector, read_sources
from centernet2.predict.exported_detector import ExportedDetector
from centernet2.predict.films import FilmFrame
from centernet2.predict.predictor import Predictor
from centernet2.predict.tiling import Tiling
from centernet2.runtime.exported_model import NEEDED_KEYS, ExportedModel
from tests.helpers.films import write_film

HEIGHT, WIDTH = 48, 64
FIXED, ANY = (1, 3, HEIGHT, WIDTH), ("batch", 3, "height", "width")
BOX = {"boxes": np.array([[0, 0, 9, 9]]), "scores": np.ones(1), "labels": np.zeros(1, int)}


class Model(ExportedModel):
    """A file that detects one box in each image."""

    def __init__(self, path: Path, **_: Any) -> None:
        self.path = path
        self.input_shape = FIXED if path.stem == "fixed" else ANY
        self.metadata = {key: kind() for key, kind in NEEDED_KEYS.items()} | {"num_classes": 1}

    def run(self, images: Any) -> dict[str, Any]:
        if self.input_shape == FIXED and images.shape != FIXED:
            raise ValueError(f"{self.path} takes uint8 images {FIXED}")
        columns = {name: np.stack([column] * len(images)) for name, column in BOX.items()}
        return {**columns, "count": np.ones(len(images), int)}


def predictor(monkeypatch: pytest.MonkeyPatch, name: str, **options: Any) -> Predictor:
    monkeypatch.setattr(exported_detector, "ExportedModel", Model)
    return Predictor(ExportedDetector(Path(name)), **options)  # type: ignore[arg-type]


def write_images(folder: Path) -> Path:
    for name, size in (("a", (WIDTH, HEIGHT)), ("b", (HEIGHT, WIDTH)), ("c", (WIDTH, HEIGHT))):
        Image.new("RGB", size).save(folder / f"{name}.png")
    return folder


def test_images_of_other_sizes_are_named_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: dict[str, str] = {}

    def on_error(path: Path, error: Exception) -> None:
        failed[path.name] = str(error)

    images = write_images(tmp_path)
    for name, kept in (("fixed.onnx", ["a", "c"]), ("any.onnx", ["a", "b", "c"])):
        failed.clear()
        found = [*predictor(monkeypatch, name).stream(images, on_error=on_error)]
        assert [each.path.stem for each in found if each.path] == kept
        assert list(failed) == ([] if name == "any.onnx" else ["b.png"])
    with pytest.raises(ValueError, match=r"fixed\.onnx takes uint8 images"):
        predictor(monkeypatch, "fixed.onnx")(np.zeros((9, 9, 3), np.uint8))


def test_film_of_other_size_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[str] = []
    film = write_film(tmp_path / "film.mp4", size=(96, 64))
    found = predictor(monkeypatch, "fixed.onnx").stream(
        film, on_error=lambda path, error: failed.append(str(error))
    )
    assert not list(found) and len(failed) == 1
    assert "film.mp4: its size is" in failed[0] and "images of 48x64 alone" in failed[0]


def test_stream_of_another_size_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    frame = FilmFrame(np.zeros((9, 9, 3), np.uint8), Fraction(0))

    def live_frames(*_: Any, **__: Any) -> Iterator[FilmFrame]:
        yield from [frame] * 3
        raise AssertionError("it goes on")

    monkeypatch.setattr(read_sources, "live_frames", live_frames)
    failed: list[str] = []
    sources = ["rtsp://camera/live", write_images(tmp_path) / "a.png"]
    found = predictor(monkeypatch, "fixed.onnx").stream(
        sources, on_error=lambda path, error: failed.append(str(error))
    )
    assert [each.path for each in found] == [tmp_path / "a.png"]
    assert len(failed) == 1 and "camera/live: its size is 9x9" in failed[0]


def test_tiles_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor(monkeypatch, "any.onnx", tiling=Tiling(32))
    with pytest.raises(ValueError, match=r"fixed\.onnx takes images of one size; export it"):
        predictor(monkeypatch, "fixed.onnx", tiling=Tiling(32))
