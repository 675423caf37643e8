"""What a training run leaves behind, whatever its evaluation does."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from centernet2.builders.training import config_completion, training_run
from centernet2.exit_codes import TrainedWithoutEvaluation
from tests.helpers.training import dry_run, train, write_blocks

ONE = ["SOLVER.MAX_ITER", "1", "SOLVER.PICTURES", "0"]


def evaluated(*_: Any, **__: Any) -> dict[str, float]:
    """Stand in for an evaluation, which takes longer than the training."""
    return {"bbox/AP": 12.0}


def metrics_of(checkpoint: Path) -> dict[str, float]:
    metrics: dict[str, float] = torch.load(checkpoint, weights_only=True)["metrics"]
    return metrics


def test_missing_validation_image_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_blocks(tmp_path)
    path = folder / "annotations" / "instances_val.json"
    content = json.loads(path.read_text())
    content["images"][2]["file_name"] = "gone.png"
    path.write_text(json.dumps(content))
    metrics = train(folder, tmp_path / "run", *ONE)
    assert metrics["images_skipped"] == 1
    assert metrics_of(tmp_path / "run" / "model_final.pth")["images_skipped"] == 1
    named = json.loads((tmp_path / "run" / "eval" / "skipped.json").read_text())
    assert [each["image_id"] for each in named] == [3]
    assert "1 missing images: evaluations and their metrics leave them out" in caplog.text


def test_most_validation_images_missing_is_refused(tmp_path: Path) -> None:
    folder = write_blocks(tmp_path)
    path = folder / "annotations" / "instances_val.json"
    content = json.loads(path.read_text())
    for record in content["images"][:3]:
        record["file_name"] = f"gone_{record['id']}.png"
    path.write_text(json.dumps(content))
    for start in (train, dry_run):
        with pytest.raises(ValueError, match=r"3 missing images \(such as gone_1\.png"):
            start(folder, tmp_path / "run", *ONE)
    assert not (tmp_path / "run").exists()
    train(folder, tmp_path / "run", *ONE, "TEST.EVAL_PERIOD", "-1")  # evaluates never


@pytest.mark.parametrize(
    ("error", "traceback"), [(OSError(28, "No space left"), False), (KeyError("bug"), True)]
)
def test_model_is_kept_if_the_evaluation_fails(
    data: Path,
    tmp_path: Path,
    error: Exception,
    traceback: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: Any, **__: Any) -> dict[str, float]:
        assert (tmp_path / "model_final.pth").exists()
        raise error

    monkeypatch.setattr(training_run, "evaluate_dataset", fail)
    with pytest.raises(TrainedWithoutEvaluation, match="is written, but its evaluation failed"):
        train(data, tmp_path, *ONE)
    assert metrics_of(tmp_path / "model_final.pth") == {}
    assert any(record.exc_info for record in caplog.records) is traceback
    monkeypatch.setattr(training_run, "evaluate_dataset", evaluated)
    assert "bbox/AP" in train(data, tmp_path, *ONE, resume=True)
    assert "bbox/AP" in metrics_of(tmp_path / "model_final.pth")


def test_failed_evaluation_between_steps_is_said(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def fail_once(*args: Any, **options: Any) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("no image")
        return evaluated()

    monkeypatch.setattr(training_run, "evaluate_dataset", fail_once)
    with caplog.at_level(logging.INFO):
        metrics = train(data, tmp_path, *ONE, "SOLVER.MAX_ITER", "2", "TEST.EVAL_PERIOD", "1")
    assert "the evaluation after iteration 1 failed: no image" in caplog.text
    assert len(calls) == 2 and "bbox/AP" in metrics
    assert "training is done: model_final.pth" in caplog.text


def test_folder_that_vanishes_becomes_a_sentence(data: Path, tmp_path: Path) -> None:
    """A file takes the place of eval/ while the steps are made."""

    def spoil(*_: Any, **__: Any) -> bool:
        (tmp_path / "eval").write_text("a file")
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_run.TrainingRun, "_draws_pictures", spoil)
        with pytest.raises(TrainedWithoutEvaluation, match="Error") as failed:
            train(data, tmp_path, *ONE)
    assert failed.value.checkpoint == tmp_path / "model_final.pth"
    assert failed.value.checkpoint.exists()


@pytest.mark.parametrize("name", ["eval", "pictures", "eval_ema"])
def test_file_in_place_of_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a file")
    with pytest.raises(ValueError, match=f"{name} is not a folder"):
        train(tmp_path / "no_data", tmp_path, "SOLVER.EMA.ENABLED", "True")


def test_pictures_that_cannot_be_written_are_left_out(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "command.yaml").touch()  # of a run that has saved nothing
    (tmp_path / "pictures").write_text("a file")
    monkeypatch.setattr(config_completion, "writable_folder", lambda folder, option: folder)
    monkeypatch.setattr(training_run, "evaluate_dataset", evaluated)
    assert "bbox/AP" in train(data, tmp_path, "SOLVER.MAX_ITER", "1", "SOLVER.PICTURES", "1")
    assert caplog.text.count("this picture is left out") == 2
