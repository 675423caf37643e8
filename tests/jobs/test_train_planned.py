"""`centernet2 train DATA`: plans, trains, evaluates and reports; a resumed run keeps the plan."""

import errno
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import centernet2
from centernet2.builders.training import automatic_plan, train_to_end
from centernet2.checkpoint import load_checkpoint
from centernet2.jobs.train import TrainMode
from tests.helpers.training import TINY, write_blocks

FEW = [*TINY, "TEST.EVAL_PERIOD", "0", "INPUT.MAX_SIZE_TRAIN", "64"]


def test_data_alone_are_enough_and_resuming_keeps_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_blocks(tmp_path / "my_blocks")
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")
    metrics = centernet2.train(None, data, *FEW, "SOLVER.TRAIN_ITER", "2", device="cpu")
    run = tmp_path / "runs" / "my_blocks"
    assert isinstance(metrics, dict) and "bbox/AP" in metrics
    assert (run / "report" / "report.html").is_file()
    assert len(re.findall(r"instances_train\.json: \d+ images", caplog.text)) == 1
    assert caplog.text.count("report.html") == 1
    assert caplog.text.index("measuring the memory") < caplog.text.index("data: ")
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
    lines = centernet2.train(
        run / "plan.yaml", data=data, device="cpu", mode=TrainMode(dry_run=True)
    )
    assert any("within 20 minutes" in line for line in lines) and "(ADAMW)" in "".join(lines)


def test_effort_needs_a_plan(tmp_path: Path) -> None:
    data = write_blocks(tmp_path)
    with pytest.raises(ValueError, match="--effort chooses options for the data of a new run"):
        centernet2.train(
            "CenterNet2_R18_small", data, output_dir=tmp_path / "run", device="cpu",
            mode=TrainMode(effort="quick"),
        )  # fmt: skip


def test_run_has_succeeded_without_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*words: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    monkeypatch.setattr(train_to_end, "evaluate_predictions", fail)
    command, state = SimpleNamespace(data="a", data_path=None), SimpleNamespace(output=tmp_path)
    train_to_end._report(SimpleNamespace(command=command, state=state, config=None))
    assert "the report is not written ([Errno 28] No space left on device" in caplog.text
