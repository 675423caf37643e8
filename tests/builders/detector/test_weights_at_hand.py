"""The error about missing weights names those that would do."""

import os
import sys
from pathlib import Path

import pytest

from centernet2 import cli
from centernet2.builders.detector.weights_at_hand import describe_weights_at_hand
from centernet2.exit_codes import ExitCode


def test_last_runs_come_first(tmp_path: Path) -> None:
    for age, name in enumerate(("runs/new", "mine", "runs/old", "runs/older")):
        path = tmp_path / name / "model_final.pth"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "photos").mkdir()
    text = describe_weights_at_hand(tmp_path)
    assert text.startswith("the last training runs here: runs/new, mine, runs/old; published")
    assert "zoo:CenterNet2_R50_1x" in text
    assert describe_weights_at_hand(tmp_path / "photos").startswith("published models: zoo:")


def test_missing_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "model_0001000.pth").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["centernet2", "predict", "a.jpg"])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code == ExitCode.REFUSED
    assert "needs --weights: a checkpoint such as" in caplog.text
    assert "the last training runs here: runs/mine; published models: zoo:" in caplog.text
