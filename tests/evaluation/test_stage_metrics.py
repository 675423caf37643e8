"""Inspection of the stages leaves the metrics unchanged."""

import json
from pathlib import Path

import pytest
import torch

import centernet2
from tests.helpers.evaluation import noise_detector


def test_metrics_with_report_equal_those_without(tmp_path: Path) -> None:
    """Give all proposals one score, so that many tie with the last one kept."""
    model = noise_detector(tmp_path, "MODEL.CENTERNET.POST_NMS_TOPK_TEST", "5")
    torch.nn.init.zeros_(model.proposal_generator.head.agn_hm.weight)

    plain = centernet2.evaluate(model, data=tmp_path, output_dir=tmp_path / "plain")
    reported = centernet2.evaluate(model, data=tmp_path, report=tmp_path / "report")
    assert reported == pytest.approx(plain, abs=0, nan_ok=True)
    contents = [(tmp_path / run / "predictions.json").read_text() for run in ("plain", "report")]
    assert contents[0] == contents[1]
    stages = json.loads((tmp_path / "report" / "stages.json").read_text())
    assert min(each["num_proposals"] for each in stages) > 5
