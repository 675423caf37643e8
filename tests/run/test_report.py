"""An evaluation with its page, from data and model to files."""

import json
from pathlib import Path

import pytest
import torch

import centernet2
from centernet2.run.evaluation import evaluate_predictions
from tests.evaluation.test_processes import SETTINGS, write_data


def test_report_of_a_model_and_of_its_predictions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_data(tmp_path)
    torch.manual_seed(0)
    classes = ["MODEL.ROI_HEADS.NUM_CLASSES", "3", "MODEL.CENTERNET.NUM_CLASSES", "3"]
    thresholds = ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0", "MODEL.CENTERNET.INFERENCE_TH", "0.0"]
    config = centernet2.load_config("CenterNet2_R18_small", [*SETTINGS, *classes, *thresholds])
    model = centernet2.build_model(config)
    metrics = centernet2.evaluate(model, data=tmp_path, report=tmp_path / "report")
    record = json.loads((tmp_path / "report" / "report.json").read_text())
    assert record["metrics"]["bbox/AP"] == pytest.approx(metrics["bbox/AP"], abs=1e-4)
    assert [each["name"] for each in record["calibration"]] == ["first stage", "second stage", "product", "score"]
    assert list(record["first_stage"]) == ["50", "100", "256", "1000"]
    assert "First stage alone" in (tmp_path / "report" / "report.html").read_text()

    found = json.loads((tmp_path / "report" / "predictions.json").read_text())
    (tmp_path / "report" / "predictions.json").write_text(json.dumps(found[:-1]))
    evaluate_predictions(tmp_path / "report" / "predictions.json", data=tmp_path, report=tmp_path / "other")
    assert json.loads((tmp_path / "other" / "report.json").read_text())["first_stage"] is None
    assert "belongs to other detections" in caplog.text
    centernet2.evaluate(model, data=tmp_path, output_dir=tmp_path / "report")
    assert not (tmp_path / "report" / "stages.json").exists()
