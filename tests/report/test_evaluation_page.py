"""The page of an evaluation of a model or results file, also in a browser."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import centernet2
from centernet2.builders.evaluation.evaluator import evaluate_predictions
from centernet2.data.readers.coco import DetectionDataset
from centernet2.evaluation.analysis import analyze
from centernet2.evaluation.coco_metrics import coco_metrics
from centernet2.report import evaluation_page
from centernet2.report.evaluation_page import evaluation_markdown, write_evaluation_page
from tests.helpers.evaluation import (
    checked_page,
    noise_detector,
    random_analysis,
    random_evaluation,
    write_noise_data,
)


@pytest.fixture
def blank_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let random annotations have images, of which there are no files."""
    image = torch.zeros(3, 480, 500, dtype=torch.uint8)
    monkeypatch.setattr(evaluation_page, "read_indexed_image", lambda dataset, index: image)


@pytest.mark.usefixtures("blank_images")
def test_page_is_complete_without_network(tmp_path: Path) -> None:
    dataset, results, analysis = random_analysis(tmp_path)
    page = write_evaluation_page(tmp_path / "report", "a <b>", analysis, dataset, results)
    text = checked_page(page)
    assert "&lt;i&gt;&amp;" in text and "<i>&" not in text
    example = dataset.image_path(analysis["examples"]["missed"][0]["image"])
    assert f'href="../{example.relative_to(tmp_path)}"' in text
    record = json.loads((tmp_path / "report" / "report.json").read_text())
    assert record["objects"] == analysis["objects"]
    lines = evaluation_markdown("a", analysis).splitlines()
    assert "| wrong class |" in "\n".join(lines)
    assert "\n# a <b>\n" in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.usefixtures("blank_images")
def test_links_to_files_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, results, analysis = random_analysis(tmp_path)
    name = os.fsdecode(b"a#1 \xe9?%.jpg")
    monkeypatch.setattr(DetectionDataset, "image_path", lambda dataset, index: tmp_path / name)
    path = write_evaluation_page(tmp_path / "report", "any", analysis, dataset, results)
    text = path.read_text(encoding="utf-8")
    assert 'href="../a%231%20%E9%3F%25.jpg">a#1 \\xe9?%.jpg<' in text


@pytest.mark.usefixtures("blank_images")
def test_page_without_detections(tmp_path: Path) -> None:
    dataset, _ = random_evaluation(tmp_path)
    nothing = np.zeros((0, 7))
    analysis = analyze(dataset, nothing, coco_metrics(dataset, nothing))
    assert analysis["best"] is None and analysis["first_stage"] is None
    path = write_evaluation_page(tmp_path / "report", "none", analysis, dataset, nothing)
    assert "None." in path.read_text()


def test_report_of_model_and_predictions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = noise_detector(tmp_path)
    metrics = centernet2.evaluate(model, data=tmp_path, report=tmp_path / "report")
    record = json.loads((tmp_path / "report" / "report.json").read_text())
    assert record["metrics"]["bbox/AP"] == pytest.approx(metrics["bbox/AP"], abs=1e-4)
    names = [each["name"] for each in record["calibration"]]
    assert names == ["first stage", "second stage", "product", "score"]
    assert list(record["first_stage"]) == ["50", "100", "256", "1000"]
    assert "First stage alone" in (tmp_path / "report" / "report.html").read_text()

    predictions = tmp_path / "report" / "predictions.json"
    detections = json.loads(predictions.read_text())
    predictions.write_text("[\n" + ",\n".join(map(json.dumps, detections[:-1])) + "\n]\n")
    evaluate_predictions(predictions, data=tmp_path, report=tmp_path / "other")
    assert json.loads((tmp_path / "other" / "report.json").read_text())["first_stage"] is None
    assert "belongs to other detections" in caplog.text
    centernet2.evaluate(model, data=tmp_path, output_dir=tmp_path / "report")
    assert not (tmp_path / "report" / "stages.json").exists()

    (tmp_path / "other.json").write_text(json.dumps(detections))
    for image in (tmp_path / "images").iterdir():
        image.unlink()
    evaluate_predictions(tmp_path / "other.json", data=tmp_path, report=tmp_path / "third")
    assert "None." in checked_page(tmp_path / "third" / "report.html")
    assert "no examples of an image that cannot be used" in caplog.text


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in BROWSERS if (path := shutil.which(name))), None)


def browse(page: Path, folder: Path, *options: str) -> str:
    """Return the output of a headless browser without network."""
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder / 'profile'}", "--window-size=900,1400", *options, page.as_uri(),
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return run.stdout


@pytest.mark.slow
@pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium on this machine to open the page with"
)
def test_page_in_a_browser(tmp_path: Path) -> None:
    """The page is complete without a network, in dark mode and in print."""
    data = tmp_path / "data"
    data.mkdir()
    write_noise_data(data)
    truth = json.loads((data / "annotations" / "instances_val.json").read_text())["annotations"]
    keys = ("image_id", "category_id", "bbox")
    detections = [{**{key: each[key] for key in keys}, "score": 0.9} for each in truth[1:]]
    (tmp_path / "detections.json").write_text(json.dumps(detections))
    evaluate_predictions(tmp_path / "detections.json", data=data, report=tmp_path / "report")
    page = tmp_path / "report" / "report.html"
    dom = browse(page, tmp_path, "--dump-dom")
    for part in ("errors", "classes", "confusion"):
        assert f'href="#{part}"' in dom and f'id="{part}"' in dom
    brightness = []
    for scheme in (1, 0):  # Chromium's numbers for light and dark
        picture = tmp_path / f"{scheme}.png"
        colors = f"--blink-settings=preferredColorScheme={scheme}"
        browse(page, tmp_path, colors, f"--screenshot={picture}")
        with Image.open(picture) as screen:
            brightness.append(np.asarray(screen.convert("L")).mean())
    assert brightness[0] > 200 > 80 > brightness[1]
    browse(page, tmp_path, f"--print-to-pdf={tmp_path / 'page.pdf'}")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
