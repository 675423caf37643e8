"""Inspection of the stages leaves the metrics unchanged."""

import json
from pathlib import Path

import pytest
import torch

import centernet2
from tests.helpers.evaluation import SMALL_INPUT, write_noise_data


def test_metrics_with_report_equal_those_without(tmp_path: Path) -> None:
    """Give all proposals one score, so that many tie with the last one kept."""
    write_noise_data(tmp_path)
    torch.manual_seed(0)
    classes = ["MODEL.ROI_HEADS.NUM_CLASSES", "3", "MODEL.CENTERNET.NUM_CLASSES", "3"]
    thresholds = ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0", "MODEL.CENTERNET.INFERENCE_TH", "0.0"]
    limits = ["MODEL.CENTERNET.POST_NMS_TOPK_TEST", "5"]
    options = [*SMALL_INPUT, *classes, *thresholds, *limits]
    model = centernet2.build_model(centernet2.load_config("CenterNet2_R18_small", options))
    torch.nn.init.zeros_(model.proposal_generator.head.agn_hm.weight)

    plain = centernet2.evaluate(model, data=tmp_path, output_dir=tmp_path / "plain")
    reported = centernet2.evaluate(model, data=tmp_path, report=tmp_path / "report")
    assert reported == pytest.approx(plain, abs=0, nan_ok=True)
    contents = [(tmp_path / run / "predictions.json").read_text() for run in ("plain", "report")]
    assert contents[0] == contents[1]
    stages = json.loads((tmp_path / "report" / "stages.json").read_text())
    assert min(each["num_proposals"] for each in stages) > 5
