"""The demo from its first image to its report, with few images and two steps."""

from pathlib import Path

import pytest

from demo import __main__ as demo
from demo import digits


def test_report_shows_detections_on_unseen_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
