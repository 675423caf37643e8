"""The demonstration from its first scene to its report, with few scenes and two steps."""

from pathlib import Path

import pytest

from demo import __main__ as demo
from demo import digits


def test_the_report_shows_what_was_found_in_unseen_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digits, "SCENES", {"train": 6, "val": 3, "unseen": 2})
    monkeypatch.setattr(
        demo, "SETTINGS", [*demo.SETTINGS, "SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "2"]
    )
    monkeypatch.setattr("sys.argv", ["demo", "--output", str(tmp_path)])
    demo.main()
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "model_final.pth").is_file()
    assert report.count("data:image/jpeg") == 2
    assert "unseen_0000.jpg" in report and "unseen_0001.jpg" in report
    assert "AP50" in report
