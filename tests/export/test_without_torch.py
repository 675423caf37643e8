"""Exported files predict and are verified where PyTorch is not installed, with equal results."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from centernet2.builders.prediction.prediction_options import DetectionOptions
from centernet2.jobs.predict import predict
from tests.helpers.photographs import photo
from tests.helpers.serving import wait_until

ROOT = Path(__file__).parents[2]
KINDS = ["pictures", "json", "csv", "coco", "yolo", "crops"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG that EXIF turns, a gray PNG of 16 bits, a palette and an image in CMYK."""
    folder, exif = tmp_path_factory.mktemp("photos"), Image.Exif()
    exif[0x0112] = 6
    photo(80, 120).save(folder / "turned.jpg", exif=exif)
    photo(80, 120).quantize().save(folder / "palette.png")
    photo(80, 120).convert("CMYK").save(folder / "cmyk.jpg")
    values = np.linspace(0, 65535, 80 * 120).reshape(80, 120).astype(np.uint16)
    Image.fromarray(values).save(folder / "deep.png")
    return folder


def run_without_torch(*words: str | Path) -> str:
    """Run the command in a process that cannot import PyTorch; return what it logs."""
    command = [sys.executable, "-m", "tests.helpers.without_torch", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr + done.stdout


def assert_equal_files(folder: Path, other: Path) -> None:
    """Assert that two folders have equal files, pictures by their pixels."""
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    for name in names:
        if name.suffix in (".png", ".jpg"):
            images = [np.asarray(Image.open(each / name)) for each in (folder, other)]
            assert np.array_equal(*images), name
        else:
            assert (folder / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("options", [{}, {"tile": 64}], ids=["whole", "tiles"])
def test_prediction_needs_no_torch(
    exported: Path, photos: Path, tmp_path: Path, options: dict[str, int]
) -> None:
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    run_without_torch(
        "predict", photos, "--weights", exported, "--output", tmp_path / "without",
        "--write", ",".join(KINDS), "--score-threshold", "0", "--max-detections", "9", *words,
    )  # fmt: skip
    counts = predict(
        str(photos), weights=exported, output=tmp_path / "with", write=KINDS, score_threshold=0.0,
        detection=DetectionOptions(max_detections=9), **options,
    )  # fmt: skip
    assert counts["images"] == 4 and counts["objects"] > 4
    assert_equal_files(tmp_path / "without", tmp_path / "with")


def test_verification_needs_no_torch(exported: Path) -> None:
    assert "detections agree with PyTorch" in run_without_torch("verify", exported)


@pytest.mark.long
def test_bare_environment_predicts_alike(exported: Path, photos: Path, tmp_path: Path) -> None:
    """Installed as in docker/cpu.Dockerfile, whose entry point runs."""
    python = tmp_path / "bare" / "bin" / "python"
    venv.create(tmp_path / "bare", with_pip=True)
    install = [str(python), "-m", "pip", "install", "-q"]
    for words in (["-r", str(ROOT / "docker" / "requirements.txt")], ["--no-deps", str(ROOT)]):
        subprocess.run([*install, *words], check=True)
    assert subprocess.run([str(python), "-c", "import torch"], check=False).returncode != 0
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = str(python.with_name("centernet2"))
    words = ["--weights", str(exported), "--output", str(tmp_path / "bare_out"), "--write"]
    words += [",".join(KINDS), "--score-threshold", "0", "--max-detections", "9"]
    for line in (["--help"], ["predict", str(photos), *words], ["verify", str(exported)]):
        subprocess.run([command, *line], env=clean, cwd=tmp_path, check=True)
    options = {"score_threshold": 0.0, "detection": DetectionOptions(max_detections=9)}
    predict(str(photos), weights=exported, output=tmp_path / "out", write=KINDS, **options)
    assert_equal_files(tmp_path / "bare_out", tmp_path / "out")
    assert_serves([command, "serve", "--weights", str(exported)], photos / "turned.jpg", clean)


def assert_serves(command: list[str], image: Path, environment: dict[str, str]) -> None:
    """Assert that the service starts, detects, and ends with exit code 0 on SIGTERM."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = subprocess.Popen([*command, "--port", str(port)], env=environment)
    address = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        try:
            return urllib.request.urlopen(f"{address}/ready").status == 200
        except OSError:
            return False

    try:
        wait_until(is_ready, 60)
        request = urllib.request.Request(f"{address}/detect?score_threshold=0", image.read_bytes())
        request.add_header("Content-Type", "image/jpeg")
        assert json.load(urllib.request.urlopen(request))["detections"]
    finally:
        service.terminate()
    assert service.wait(60) == 0
