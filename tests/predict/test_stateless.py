"""A predictor keeps no state: threads, worker processes, bare environments, flat memory."""

import logging
import os
import random
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from centernet2.predict.output_files import KINDS
from centernet2.predict.prediction import Prediction
from centernet2.predict.predictor import Predictor
from tests.helpers.films import require_av, write_film
from tests.helpers.jobs import build_untrained, save_untrained, write_photographs


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(build_untrained().eval())


def photographs(count: int) -> list[np.ndarray]:
    """Return noise images of different sizes."""
    generator = np.random.default_rng(0)
    return [
        generator.integers(0, 256, (40 + 8 * (i % 5), 48 + 8 * (i % 3), 3), dtype=np.uint8)
        for i in range(count)
    ]


def arrays_of(prediction: Prediction) -> list[np.ndarray]:
    return [prediction.boxes, prediction.scores, prediction.labels, prediction.objectness]


def test_threads_give_each_image_its_own_boxes(predictor: Predictor) -> None:
    images = photographs(32)
    alone = [predictor(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(predictor, images))
    assert sum(map(len, alone)) > 0
    for one, other in zip(alone, together, strict=True):
        assert all(map(np.array_equal, arrays_of(one), arrays_of(other)))


def global_state() -> list[Any]:
    """Return what a library must leave alone."""
    return [
        torch.get_num_threads(), torch.get_num_interop_threads(), torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(), torch.get_default_dtype(),
        torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist(),
        list(warnings.filters), logging.root.level, list(logging.root.handlers),
        logging.getLogger("centernet2").level, dict(os.environ), os.getcwd(),
        torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark,
    ]  # fmt: skip


def test_prediction_leaves_global_state_alone(predictor: Predictor, tmp_path: Path) -> None:
    photos = write_photographs(tmp_path / "photos")
    predictor(photographs(1)[0])  # libraries set themselves up at the first call
    before = global_state()
    predictor(photographs(2))
    for prediction in predictor.stream(photos):
        prediction.plot()
        assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
    assert global_state() == before


class Detected(Dataset[int]):
    """The number of detections of each image, found by a worker process."""

    def __init__(self, predictor: Predictor, images: list[np.ndarray]) -> None:
        self.predictor, self.images = predictor, images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> float:
        return float(self.predictor(self.images[index]).scores.sum())


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_a_loader_detect(predictor: Predictor, method: str) -> None:
    images = photographs(4)
    loader = DataLoader(
        Detected(predictor, images), num_workers=2, multiprocessing_context=method, timeout=120
    )
    expected = [float(predictor(image).scores.sum()) for image in images]
    assert torch.cat(list(loader)).tolist() == pytest.approx(expected, rel=1e-4)


# refuses what writes elsewhere than in the folder of the results, as a read-only file system does
READ_ONLY = """
import errno, os, sys

allowed = (sys.argv.pop(1), os.devnull)

def refuse(event, arguments):
    path = arguments[0] if arguments else None
    writes = event in ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink")
    writes |= event == "open" and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    if writes and not isinstance(path, int) and not os.fsdecode(path).startswith(allowed):
        raise OSError(errno.EROFS, "Read-only file system", path)

sys.addaudithook(refuse)
from centernet2.cli import main
main()
"""


@pytest.mark.slow
def test_command_in_a_read_only_container(tmp_path: Path) -> None:
    """Without HOME and locale, where only the folder of the results can be written."""
    require_av()
    weights = save_untrained(tmp_path / "model.pth", class_names=("Löwe", "猫"))
    photos = write_photographs(tmp_path / "photos", count=1)
    (photos / "0.png").rename(photos / "Löwe.png")
    write_film(photos / "film.mp4", 5, sound="aac")
    output = str(tmp_path / "out")
    Path(output).mkdir()  # where a container mounts a volume
    command = [
        sys.executable, "-c", READ_ONLY, output, "predict", str(photos),
        "--weights", str(weights), "--output", output, "--score-threshold", "0",
        "--device", "cpu", "--write", ",".join(KINDS),
    ]  # fmt: skip
    empty = {"LC_ALL": "C", "PATH": os.defpath, "HOME": "/nonexistent", "PYTHONUTF8": "0"}
    paths = {key: os.environ[key] for key in ("PYTHONPATH",) if key in os.environ}
    done = subprocess.run(command, env=empty | paths, cwd="/", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    content = (tmp_path / "out" / "predictions.json").read_bytes().decode("utf-8")
    assert "Löwe.png" in content and "猫" in content
    assert {"00001_film.mp4", "coco.json"} <= {each.name for each in (tmp_path / "out").iterdir()}


def growth(predictor: Predictor, source: Any, *, skipped: int) -> float:
    """Return by how many MiB the memory grows while a source is predicted, after a start."""
    process, first = psutil.Process(), 0
    for index, prediction in enumerate(predictor.stream(source)):
        prediction.plot()
        if index == skipped:
            first = process.memory_info().rss
    assert index > 2 * skipped
    return (process.memory_info().rss - first) / 2**20


@pytest.mark.long
def test_memory_is_flat_over_many_images(predictor: Predictor, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for index in range(2000):
        pixels = generator.integers(0, 256, (64, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index:04d}.jpg")
    assert growth(predictor, tmp_path, skipped=400) < 16


@pytest.mark.long
def test_memory_is_flat_over_a_film(predictor: Predictor, tmp_path: Path) -> None:
    require_av()
    film = write_film(tmp_path / "a.mp4", 2000, sound="aac")
    assert growth(predictor, film, skipped=400) < 16
