"""Inspection of the stages leaves the metrics unchanged."""

import json
from pathlib import Path

import pytest
import torch

import centernet2
from centernet2.evaluation.stage_metrics import proposal_recall, stage_record
from centernet2.structures import Inspection, Proposals
from tests.helpers.data import load_split
from tests.helpers.evaluation import noise_detector
from tests.helpers.training import write_blocks


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


@pytest.mark.parametrize("height, recall", [(0.49997, 0), (0.5, 100)])
def test_proposal_just_below_a_threshold_is_no_hit(
    tmp_path: Path, height: float, recall: float
) -> None:
    truth = load_split(write_blocks(tmp_path), "val")
    box = torch.from_numpy(truth.boxes(truth.rows(0)))[:1]
    size = (int(truth.heights[0]), int(truth.widths[0]))
    cut = box.clone()
    cut[:, 3] = box[:, 1] + height * (box[:, 3] - box[:, 1])
    ones, nothing = torch.ones(1), torch.zeros(0)
    proposals = Proposals(cut, ones, torch.zeros(1, dtype=torch.int64), ones.bool())
    found = {"boxes": torch.zeros(0, 4), "scores": nothing, "labels": nothing.long()}
    inspected = Inspection(found, proposals, 1, nothing, nothing)
    record = stage_record(inspected, nothing.bool(), size, size, truth, 0)
    assert proposal_recall([record])[100]["R50"] == recall
