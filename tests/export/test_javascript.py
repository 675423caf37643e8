"""The JavaScript examples find the boxes that ONNX Runtime finds in Python."""

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from centernet2.export.certificate import drawn_images
from centernet2.runtime.exported_model import ExportedModel
from centernet2.runtime.session import METADATA_KEY
from tests.helpers.browser import Page, find_chromium, open_page, serve_folder

pytestmark = pytest.mark.long
EXAMPLES = Path(__file__).parents[2] / "examples" / "javascript"
THRESHOLD = 0.1  # of the file, below the scores of an untrained detector
DROP = """fetch("photo.png").then((response) => response.blob()).then((blob) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([blob], "photo.png", { type: "image/png" }));
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer }));
})"""


@pytest.fixture(scope="module")
def folder(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples with their packages, a model with names and thresholds, and an image."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("javascript")
    shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)
    install = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund"]
    installed = subprocess.run(install, cwd=folder, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"npm cannot install the packages: {installed.stderr.strip()}")
    _name_classes(exported, folder / "model.onnx")
    image = drawn_images()[0].permute(1, 2, 0).numpy()
    Image.fromarray(image).save(folder / "photo.png")
    return folder


def _name_classes(source: Path, target: Path) -> None:
    """Copy a file, with names and thresholds of its classes."""
    import onnx

    model = onnx.load(source)
    (entry,) = [each for each in model.metadata_props if each.key == METADATA_KEY]
    metadata = json.loads(entry.value)
    count = metadata["num_classes"]
    metadata["class_names"] = [f"name {label}" for label in range(count)]
    metadata["score_thresholds"] = [THRESHOLD] * count
    entry.value = json.dumps(metadata)
    onnx.save(model, target)


def require_equal(found: list[dict[str, Any]], folder: Path) -> None:
    """Check detections against those of ONNX Runtime in Python."""
    pixels = np.asarray(Image.open(folder / "photo.png")).transpose(2, 0, 1)
    (wanted,) = ExportedModel(folder / "model.onnx").detect(np.ascontiguousarray(pixels[None]))
    above = wanted["scores"] >= THRESHOLD
    assert 0 < above.sum() == len(found)
    assert [each["label"] for each in found] == wanted["labels"][above].tolist()
    assert found[0]["name"] == f"name {found[0]['label']}"
    scores, boxes = ([each[key] for each in found] for key in ("score", "box"))
    np.testing.assert_allclose(scores, wanted["scores"][above], atol=1e-4)
    np.testing.assert_allclose(boxes, wanted["boxes"][above], atol=0.01)


def test_node(folder: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    command = [node, "node.mjs", "model.onnx", "photo.png"]
    output = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    (line,) = output.stdout.splitlines()
    require_equal(json.loads(line)["detections"], folder)


def test_browser(folder: Path, tmp_path: Path) -> None:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with serve_folder(folder) as address, open_page(chromium, tmp_path) as page:
        page.call("Page.navigate", url=address)
        wait_for(page, "choose an image")
        page.evaluate(DROP)
        wait_for(page, "detections")
        content = page.evaluate("document.getElementById('json').href")
        require_equal(json.loads(unquote(content.partition(",")[2])), folder)
        assert "model.onnx" in "".join(page.requested)
        assert all(each.startswith((address, "data:", "blob:")) for each in page.requested)


def wait_for(page: Page, text: str, seconds: float = 120) -> None:
    """Wait until the status of the page has a text."""
    status = "document.getElementById('status')?.textContent ?? ''"
    end = time.monotonic() + seconds
    while text not in (shown := page.evaluate(status)):
        assert "failed" not in shown and time.monotonic() < end, shown
        time.sleep(0.2)
