from pathlib import Path

import pytest

from centernet2.cli import app
from tests.helpers.data import change, make_content, write_dataset


def test_report_and_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(tmp_path, make_content())
    report = tmp_path / "report"
    app(["check", str(tmp_path), "--report", str(report)], exit_on_error=False)
    assert "no problems were found" in capsys.readouterr().out
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "zebra" in page and "http" not in page.replace("http://www.w3.org", "")


def test_repaired_copy_lists_its_changes(tmp_path: Path) -> None:
    write_dataset(tmp_path, change(make_content(), 0, category_id=99))
    fixed = tmp_path / "fixed.json"
    with pytest.raises(SystemExit) as stop:
        app(["check", str(tmp_path), "--no-report", "--fix", str(fixed)], exit_on_error=False)
    assert stop.value.code == 2
    changes = (tmp_path / "fixed.changes.txt").read_text(encoding="utf-8")
    assert changes == "annotation 1 removed: there is no category 99\n"
