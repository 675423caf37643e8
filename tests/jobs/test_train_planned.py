"""`centernet2 train DATA`: plans, trains, evaluates and reports; a resumed run keeps the plan."""

from pathlib import Path

import pytest
import yaml

import centernet2
from centernet2.builders import automatic_plan
from centernet2.checkpoint import load_checkpoint
from centernet2.jobs.train import TrainMode
from tests.helpers.training import TINY, write_blocks

FEW = [*TINY, "TEST.EVAL_PERIOD", "0", "INPUT.MAX_SIZE_TRAIN", "64"]


def test_data_alone_are_enough_and_resuming_keeps_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_blocks(tmp_path / "my_blocks")
    monkeypatch.chdir(tmp_path)
    metrics = centernet2.train(None, data, *FEW, "SOLVER.TRAIN_ITER", "2", device="cpu")
    run = tmp_path / "runs" / "my_blocks"
    assert isinstance(metrics, dict) and "bbox/AP" in metrics
    assert (run / "report" / "report.html").is_file()
    text = (run / "plan.yaml").read_text()
    assert "# model: CenterNet2_Lite_N, the largest" in text
    first = yaml.safe_load((run / "command.yaml").read_text())

    monkeypatch.setattr(automatic_plan, "plan_training", pytest.fail)
    centernet2.train(None, data, "SOLVER.TRAIN_ITER", "4", resume=True, device="cpu")
    again = yaml.safe_load((run / "command.yaml").read_text())
    assert load_checkpoint(run / "model_final.pth").iteration == 4
    assert [again[key] for key in ("file", "reasons")] == [
        first[key] for key in ("file", "reasons")
    ]
    assert (run / "plan.yaml").read_text() == text.replace("TRAIN_ITER: 2", "TRAIN_ITER: 4")
    config = centernet2.load_config(run / "plan.yaml")
    assert config["SOLVER.MAX_MINUTES"] == 20 and config["SOLVER.OPTIMIZER"] == "ADAMW"


def test_effort_needs_a_plan(tmp_path: Path) -> None:
    data = write_blocks(tmp_path)
    with pytest.raises(ValueError, match="--effort chooses options for the data of a new run"):
        centernet2.train(
            "CenterNet2_R18_small", data, output_dir=tmp_path / "run", device="cpu",
            mode=TrainMode(effort="quick"),
        )  # fmt: skip
