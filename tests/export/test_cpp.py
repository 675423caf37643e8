"""The C++ example finds the boxes that OpenVINO finds in Python."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from centernet2.export.certificate import drawn_images
from centernet2.runtime.exported_model import ExportedModel

openvino = pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
pytestmark = pytest.mark.slow
SOURCE = Path(__file__).parents[2] / "examples" / "cpp" / "detect.cpp"
THRESHOLD = 0.1  # below the scores of an untrained detector


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built with the headers and libraries of the Python package."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    root = Path(openvino.__file__).parent
    (library,) = (root / "libs").glob("libopenvino.so*")
    program = tmp_path_factory.mktemp("cpp") / "detect"
    options = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-isystem", str(root / "include")]
    libraries = [str(library), f"-Wl,-rpath,{library.parent}"]
    subprocess.run([compiler, *options, str(SOURCE), *libraries, "-o", str(program)], check=True)
    return program


def test_boxes(program: Path, converted: Path, tmp_path: Path) -> None:
    image = drawn_images()[0]
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "photo.ppm")
    command = [program, converted, tmp_path / "photo.ppm", str(THRESHOLD)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = np.array([line.split() for line in output.splitlines()], dtype=float)  # [D, 6]
    (wanted,) = ExportedModel(converted).detect(image[None].numpy())
    above = wanted["scores"] >= THRESHOLD
    assert 0 < above.sum() == len(found)
    np.testing.assert_array_equal(found[:, 0], wanted["labels"][above])
    np.testing.assert_allclose(found[:, 1], wanted["scores"][above], atol=1e-4)
    np.testing.assert_allclose(found[:, 2:], wanted["boxes"][above], atol=0.01)


def test_other_files_are_refused(program: Path, converted: Path) -> None:
    for arguments, message in (([], "usage: "), ([converted, SOURCE], "is no binary PPM file")):
        result = subprocess.run([program, *arguments], capture_output=True, text=True)
        assert result.returncode == 2 and message in result.stderr
