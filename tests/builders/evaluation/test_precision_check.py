"""What an exported file of lower precision loses."""

from pathlib import Path

import numpy as np
import pytest

from centernet2.builders.data.class_matching import match_detector
from centernet2.builders.detector.loading import config_of
from centernet2.builders.evaluation import precision_check
from centernet2.builders.evaluation.precision_check import PrecisionCheck
from centernet2.data import DetectionDataset
from centernet2.evaluation import Scored, score_results
from centernet2.report.tables import precision_tables
from centernet2.structures import FloatArray
from tests.helpers.data import load_split
from tests.helpers.jobs import build_untrained
from tests.helpers.training import write_blocks


def perfect(dataset: DetectionDataset, score: float = 0.9) -> FloatArray:
    """Results [B, 7] on all objects."""
    images = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))
    scores = np.full(len(images), score)
    return np.column_stack([images, dataset.xywh, scores, dataset.labels])


def scored(dataset: DetectionDataset, results: FloatArray) -> Scored:
    return score_results(dataset, results, None, max_detections=100, output_dir=None)


def test_loss_is_measured_and_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load_split(write_blocks(tmp_path), "val")
    results = perfect(dataset)
    detector = build_untrained(classes=len(dataset.class_names))
    monkeypatch.setattr(precision_check, "ExportedDetector", lambda path: path)
    monkeypatch.setattr(precision_check, "score_matched", lambda *_: scored(dataset, results))
    counts = []

    def score_exported(*_: object, max_detections: int) -> Scored:
        counts.append(max_detections)
        return scored(dataset, results[1:])

    monkeypatch.setattr(precision_check, "score_exported", score_exported)
    config = config_of(detector.info).override(["TEST.DETECTIONS_PER_IMAGE", "300"])
    matched = match_detector(detector, dataset)
    check = PrecisionCheck(detector, config, matched, accepted_loss=100.0)
    evaluation = check(tmp_path / "model.onnx")["evaluation"]
    assert evaluation["before"]["AP"] == pytest.approx(100)
    assert evaluation["after"]["AP"] < 100
    name = dataset.class_names[int(dataset.labels[0])]
    total = int((dataset.labels == dataset.labels[0]).sum())
    assert evaluation["before"][f"recall/{name}"] == 100
    assert evaluation["after"][f"recall/{name}"] == pytest.approx(100 * (total - 1) / total)
    assert counts == [300]  # as many as of the detector
    strict = PrecisionCheck(detector, config, matched, accepted_loss=0.1)
    with pytest.raises(ValueError, match=r"AP and the detector 100\.00: .* and 0\.1 is accepted"):
        strict(tmp_path / "model.onnx")


def test_recall_is_that_of_shown_detections(tmp_path: Path) -> None:
    dataset = load_split(write_blocks(tmp_path), "val")
    metrics = precision_check.class_metrics(dataset, scored(dataset, perfect(dataset, 0.1)))
    assert metrics["AP"] == pytest.approx(100)
    assert all(value == 0 for name, value in metrics.items() if name.startswith("recall/"))


def test_tables_name_the_class_that_loses_most() -> None:
    from rich.console import Console

    before = {"AP": 50.0, "AP/cat": 50.0, "AP/dog": 50.0, "recall/cat": 80.0, "recall/dog": 80.0}
    after = {**before, "AP": 49.5, "AP/dog": 49.0, "recall/dog": 77.0}
    console = Console(width=100, record=True)
    console.print(precision_tables(before, after))
    text = console.export_text()
    assert "-0.50" in text and text.index("dog") < text.index("cat") and "-3.00" in text
