"""From batches to metrics: scaling, gathering, files, the model's mode."""

import io
import json
import logging
import math
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from centernet2 import progress
from centernet2.data.readers.coco import DetectionDataset, load_coco
from centernet2.data.readers.results import read_results
from centernet2.evaluation import inference
from centernet2.evaluation.scoring import (
    Scored,
    SkippedImage,
    score_detector,
    score_results,
)
from centernet2.evaluation.stream import ResultStream
from centernet2.report.tables import metrics_table
from centernet2.structures import Detections

# by image id
BOXES = {7: [10.0, 20.0, 60.0, 90.0], 8: [0.0, 0.0, 30.0, 30.0], 9: [50.0, 10.0, 100.0, 70.0]}
SIZE = (100, 120)  # of every image file
SCALE = 2  # from the image file to the model's input


class Batch(NamedTuple):
    images: list[Tensor]
    indices: list[int]
    sizes: list[tuple[int, int]]


class FakeDetector(nn.Module):
    """Detect the box that the first pixel names, and one just outside the image."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.BatchNorm2d(3)
        self.frozen.eval()
        self.was_training: list[bool] = []

    def detect(self, images: list[Tensor]) -> list[Detections]:
        self.was_training.append(self.training or torch.is_grad_enabled())
        return [
            {
                "boxes": torch.tensor([BOXES[int(image[0, 0, 0])], [-9.0, 0.0, 0.0, 50.0]]) * SCALE,
                "scores": torch.tensor([0.9, 0.95]),
                "labels": torch.tensor([1, 1]),
            }
            for image in images
        ]


@pytest.fixture
def dataset(tmp_path: Path) -> DetectionDataset:
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "height": SIZE[0], "width": SIZE[1]} for i in BOXES
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 6, "name": "dog"}],
        "annotations": [
            {
                "id": i,
                "image_id": i,
                "category_id": 6,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": 1000,
                "iscrowd": 0,
            }
            for i, (x1, y1, x2, y2) in BOXES.items()
        ],
    }
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(content))
    return load_coco(path, tmp_path, name="three")


def batches(image_ids: list[int], *, batch_size: int) -> list[Batch]:
    chunks = [image_ids[i : i + batch_size] for i in range(0, len(image_ids), batch_size)]
    shape = (3, SIZE[0] * SCALE, SIZE[1] * SCALE)
    return [
        Batch(
            [torch.full(shape, i, dtype=torch.uint8) for i in c],
            [i - min(BOXES) for i in c],
            [SIZE] * len(c),
        )
        for c in chunks
    ]


def score(
    dataset: DetectionDataset,
    image_ids: list[int],
    output: Path | None = None,
    *,
    model: FakeDetector | None = None,
    batch_size: int = 1,
    **options: Any,
) -> Scored:
    """Score the detections of a model, a new one if there is none, on images."""
    return score_detector(
        model or FakeDetector(), dataset, batches(image_ids, batch_size=batch_size),
        max_detections=100, output_dir=output, **options,
    )  # fmt: skip


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_perfect_boxes_on_the_original_image(
    tmp_path: Path, dataset: DetectionDataset, batch_size: int
) -> None:
    output = tmp_path / "deep" / "out"
    metrics = score(dataset, [*BOXES], output, batch_size=batch_size).metrics
    assert metrics["bbox/AP"] == metrics["bbox/AP/dog"] == pytest.approx(100)
    assert math.isnan(metrics["bbox/AP/cat"])
    results = read_results(output / "predictions.json", dataset).results
    assert results[:, 0].tolist() == [0, 1, 2]  # the box outside is gone
    assert results[0, 1:].tolist() == pytest.approx([10, 20, 50, 70, 0.9, 1])
    written = json.loads((output / "metrics.json").read_text())
    assert written["bbox/AP"] == metrics["bbox/AP"] and written["bbox/AP/cat"] is None
    assert sorted(file.name for file in output.iterdir()) == ["metrics.json", "predictions.json"]


class FakeMaskDetector(FakeDetector):
    """Detect boxes with masks that fill them."""

    def detect(self, images: list[Tensor]) -> list[Detections]:
        box_masks = torch.ones(2, 28, 28)
        return [{**each, "box_masks": box_masks} for each in super().detect(images)]


def test_perfect_masks_on_the_original_image(tmp_path: Path, dataset: DetectionDataset) -> None:
    content = json.loads((tmp_path / "truth.json").read_text())
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    (tmp_path / "truth.json").write_text(json.dumps(content))
    dataset = load_coco(tmp_path / "truth.json", tmp_path, name="three", masks=True)
    metrics = score(dataset, [*BOXES], tmp_path, model=FakeMaskDetector(), batch_size=2).metrics
    assert metrics["segm/AP"] == metrics["bbox/AP"] == pytest.approx(100)
    path = tmp_path / "predictions.json"
    again = score_results(
        dataset, *read_results(path, dataset)[:2], max_detections=100, output_dir=None
    ).metrics
    assert again == pytest.approx(metrics, abs=0, nan_ok=True)
    (first, *_) = json.loads((tmp_path / "predictions.json").read_text())
    assert first["segmentation"]["size"] == list(SIZE)

    console = Console(width=100, record=True, file=io.StringIO())
    console.print(metrics_table(metrics))
    assert (text := console.export_text()).index("boxes") < text.index("masks")


def test_model_keeps_its_mode(dataset: DetectionDataset) -> None:
    model = FakeDetector().train()
    model.frozen.eval()
    score(dataset, [7], model=model)
    assert model.was_training == [False]
    with pytest.raises(KeyError):
        score(dataset, [3], model=model)
    assert model.training and not model.frozen.training


def test_images_of_processes_are_joined_once(dataset: DetectionDataset, tmp_path: Path) -> None:
    """A second process has seen image 9, and image 7 that this one has seen too."""
    one = score(dataset, [7, 8, 9], tmp_path / "one", batch_size=2).metrics
    stream = ResultStream(tmp_path / "two")
    other = ResultStream(tmp_path / "other")
    inference.detect_batches(
        FakeDetector(), dataset, batches([9, 7], batch_size=1), other, None, lambda: False
    )
    shutil.copy(other.path, stream.path.with_name("process1.jsonl"))
    two = score(dataset, [7, 8], tmp_path / "two", batch_size=2, stream=stream).metrics
    assert two == pytest.approx(one, nan_ok=True)
    files = [(tmp_path / run / "predictions.json").read_text() for run in ("one", "two")]
    assert files[0] == files[1]
    assert not stream.folder.exists()


def test_interrupted_evaluation_resumes(dataset: DetectionDataset, tmp_path: Path) -> None:
    stream = ResultStream(tmp_path, fingerprint=lambda: "a")
    with pytest.raises(KeyError):  # image 3 does not exist
        score(dataset, [7, 3], tmp_path, stream=stream)
    with stream.path.open("a") as file:
        file.write('{"image": 1, "resul')  # cut short by a crash
    with pytest.raises(ValueError, match="weights, options or images; evaluate without --resume"):
        ResultStream(tmp_path, fingerprint=lambda: "b", resume=True)
    resumed = ResultStream(tmp_path, fingerprint=lambda: "a", resume=True)
    assert resumed.done == {0}
    model = FakeDetector()
    metrics = score(dataset, [8, 9], tmp_path, model=model, stream=resumed).metrics
    assert metrics["bbox/AP"] == pytest.approx(100)
    assert len(model.was_training) == 2
    # without `resume` the earlier results are deleted
    assert ResultStream(tmp_path, fingerprint=lambda: "b").done == set()


def test_missing_images_are_logged(
    dataset: DetectionDataset, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        metrics = score(dataset, [7]).metrics
    assert "1 of 3 images were evaluated" in caplog.text
    assert metrics["bbox/AR100"] == pytest.approx(100 / 3)


def test_objects_of_skipped_images_are_left_out(dataset: DetectionDataset, tmp_path: Path) -> None:
    skipped = {1: SkippedImage("b", "8.jpg", "8.jpg: truncated")}
    scored = score(dataset, [7, 9], tmp_path, skipped=skipped)
    metrics = scored.metrics
    assert scored.results[:, 0].tolist() == [0, 2] and scored.skipped == (1,)
    assert scored.notes == ["1 of 3 images are skipped; their objects are left out of the metrics"]
    assert metrics["bbox/AR100"] == 100 and metrics["images_skipped"] == 1
    assert json.loads((tmp_path / "metrics.json").read_text())["images_skipped"] == 1
    named = json.loads((tmp_path / "skipped.json").read_text())
    assert named == [{"image_id": "b", "file_name": "8.jpg", "reason": "8.jpg: truncated"}]
    shown = io.StringIO()
    Console(file=shown, width=200).print(metrics_table(metrics))
    assert "whose objects are left out: 1 (skipped.json)" in shown.getvalue()
    score(dataset, [*BOXES], tmp_path)
    assert not (tmp_path / "skipped.json").exists()


def test_most_images_skipped_gives_no_metrics(dataset: DetectionDataset, tmp_path: Path) -> None:
    skipped = {i: SkippedImage(i, f"{i}.jpg", f"{i}.jpg: missing") for i in (0, 2)}
    with pytest.raises(ValueError, match=r"2 of 3 images .* such as 0\.jpg: missing"):
        score(dataset, [8], tmp_path, skipped=skipped)
    assert not (tmp_path / "metrics.json").exists()


def test_without_detections_ap_is_zero(dataset: DetectionDataset) -> None:
    assert score(dataset, []).metrics["bbox/AP"] == 0


def test_results_file_gives_the_same_metrics(tmp_path: Path, dataset: DetectionDataset) -> None:
    metrics = score(dataset, [7, 8], tmp_path, batch_size=2).metrics
    results = read_results(tmp_path / "predictions.json", dataset).results
    again = score_results(
        dataset, results, None, max_detections=100, output_dir=tmp_path / "b"
    ).metrics
    assert again == pytest.approx(metrics, abs=0, nan_ok=True)
    assert json.loads((tmp_path / "b/metrics.json").read_text()) == json.loads(
        (tmp_path / "metrics.json").read_text()
    )


def test_progress_is_logged_without_terminal(
    dataset: DetectionDataset, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", -1)
    with caplog.at_level(logging.INFO):
        score(dataset, [7, 8, 9], batch_size=2)
    assert "evaluated 2 of 3 images" in caplog.text
