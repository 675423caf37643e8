"""The demo from its first image to its report, with few images and two steps."""

import signal
from pathlib import Path

import pytest

import centernet2
from centernet2.exit_codes import ExitCode, TrainingInterrupted
from demo import __main__ as demo
from demo import digits


def test_report_shows_unseen_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = ["SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "2"]
    monkeypatch.setattr(digits, "SCENES", {"train": 6, "val": 3, "unseen": 2})
    monkeypatch.setattr(demo, "OVERRIDES", [*demo.OVERRIDES, *steps])
    monkeypatch.setattr("sys.argv", ["demo", "--output", str(tmp_path)])
    demo.main()
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "model_final.pth").is_file()
    assert report.count("data:image/jpeg") == 2
    assert "unseen_0000.jpg" in report and "unseen_0001.jpg" in report
    assert "AP50" in report


def test_interrupted_demo_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Ctrl-C is one sentence; the next call resumes, and one after the report starts anew."""
    resumed: list[bool] = []

    def train(*_: object, resume: bool, **__: object) -> None:
        resumed.append(resume)
        (tmp_path / "model_0000001.pth").touch()
        raise TrainingInterrupted("training was interrupted")

    monkeypatch.setattr(centernet2, "train", train)
    monkeypatch.setattr("sys.argv", ["demo", "--output", str(tmp_path)])
    (tmp_path / "data" / digits.UNSEEN).mkdir(parents=True)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for finished in (False, False, True):
            if finished:
                (tmp_path / "report.html").touch()
            with pytest.raises(SystemExit) as stop:
                demo.main()
            assert stop.value.code == ExitCode.INTERRUPTED
            assert caplog.records[-1].getMessage() == "training was interrupted"
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert resumed == [False, True, False]
