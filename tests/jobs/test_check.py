import json
import os
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


def test_names_of_files_in_any_encoding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = make_content()
    write_dataset(tmp_path, content)
    name = content["images"][0]["file_name"]
    content["images"][0]["file_name"] = other = os.fsdecode(b"caf\xe9.png")
    content["annotations"][0]["bbox"] = [-100, 0, 150, 40]
    (tmp_path / "images" / name).rename(tmp_path / "images" / other)
    (tmp_path / "annotations" / "instances_train.json").write_text(json.dumps(content))
    words = ["--report", str(tmp_path / "report"), "--fix", str(tmp_path.parent / "fixed.json")]
    with pytest.raises(SystemExit):
        app(["check", str(tmp_path), *words], exit_on_error=False)
    assert r"caf\xe9.png" in capsys.readouterr().out
    for file in ("findings.json", "report.html"):
        assert r"caf\xe9.png" in (tmp_path / "report" / file).read_text().replace("\\\\", "\\")


def test_repaired_copy_lists_its_changes(tmp_path: Path) -> None:
    write_dataset(tmp_path, change(make_content(), 0, category_id=99))
    fixed = tmp_path.parent / f"{tmp_path.name}_fixed" / "fixed.json"
    for _ in range(2):  # it replaces its own files
        with pytest.raises(SystemExit) as stop:
            words = ["--findings-only", "--fix", str(fixed)]
            app(["check", str(tmp_path), *words], exit_on_error=False)
        assert stop.value.code == 2
    changes = fixed.with_name("fixed.changes.txt").read_text(encoding="utf-8")
    assert changes == (
        "# made by centernet2 check\n"
        "removed: annotation 1 in wide.png has category_id 99 (unknown categories)\n"
    )


def test_findings_only_write_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path, make_content())
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for flag in ("--findings-only", "--no-report"):
        app(["check", str(tmp_path), flag], exit_on_error=False)
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(ValueError, match="writes no page"):
        app(["check", str(tmp_path), "--findings-only", "--report", "x"], exit_on_error=False)
