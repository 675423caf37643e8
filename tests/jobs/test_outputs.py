"""Outputs of all commands: what cannot be written or replaced is refused before the work."""

import errno
import json
import re
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from centernet2.cli import app
from centernet2.data import layout_writers
from tests.helpers.jobs import save_untrained, write_photographs
from tests.helpers.training import write_blocks

COMMANDS = [
    "benchmark --config-file CenterNet2_R18_small --output", "check data --report",
    "check data --findings-only --fix", "check data --with-model model.pth --report",
    "compare one.json other.json --output", "convert data --to coco --output",
    "eval --weights model.pth --output-dir", "eval --predictions results.json --report",
    "next photos --weights model.pth --output", "predict photo.jpg --weights model.pth --output",
    "pseudo-label --weights model.pth --images photos --output", "show data --output",
    "threshold model.pth --output", "train --data data --output-dir",
]  # fmt: skip
# command -> files in the folder "out" that it would replace
REPLACED = {
    "benchmark --config-file CenterNet2_R18_small --output out/a.json": ["a.json"],
    "check data --report out": ["report.html", "findings.json"],
    "check data --findings-only --fix out/a.json": [
        "a.json", "a_train.json", "a.changes.txt", "a_val.changes.txt",
    ],
    "check data --with-model model.pth --report out": ["labels.json", "labels_1.jpg"],
    "compare one.json other.json --output out/a.json": ["a.json"],
    "eval --weights model.pth --data data --output-dir out": [
        "metrics.json", "predictions.json", "speed.json", "notes.json", "skipped.json",
        "stages.json",
    ],
    "eval --weights model.pth --data data --report out": [
        "report.html", "report.json", "report.md", "metrics.json",
    ],
    "eval --predictions one.json --data data --output-dir out": ["metrics.json", "skipped.json"],
    "next photos --weights model.pth --output out": [
        "images.txt", "images.json", "images_1.jpg", "coco.json", "label_studio.json",
        "label_config.xml",
    ],
    "predict photos --weights model.pth --output out": ["predictions.json", "00000_0.png"],
    "pseudo-label --weights model.pth --images photos --output out/a.json": ["a.json"],
    "show data --output out/a.png": ["a.png"],
    "threshold model.pth --data data --output out/a.pth": ["a.pth"],
}  # fmt: skip
CASES = [(command, name) for command, names in REPLACED.items() for name in names]


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with inputs of all commands."""
    (tmp_path / "data").mkdir()
    write_blocks(tmp_path / "data")
    write_photographs(tmp_path / "photos", count=1)
    save_untrained(tmp_path / "model.pth", ("block",))
    found = {"image_id": 1, "category_id": 7, "bbox": [10, 8, 24, 20], "score": 0.9}
    for name in ("one.json", "other.json"):
        (tmp_path / name).write_text(json.dumps([found]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_unusable_output_is_refused_first(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "a.jpg"
    with pytest.raises(ValueError, match=r"a\.jpg cannot be used: .*file is not a folder"):
        app([*command.split(), str(output)], exit_on_error=False)


@pytest.mark.parametrize(("command", "name"), CASES)
def test_file_of_other_origin_is_not_replaced(command: str, name: str, inputs: Path) -> None:
    path = inputs / "out" / name
    path.parent.mkdir()
    content = (inputs / "photos" / "0.png").read_bytes() if name.endswith("png") else b'{"a": 1}\n'
    path.write_bytes(content)
    words = rf"{re.escape(name)} exists and (was not made by|is not a copy of)"
    with pytest.raises(ValueError, match=words):
        app(command.split(), exit_on_error=False)
    assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]


QUICK = "--device cpu DATALOADER.NUM_WORKERS 0 INPUT.MIN_SIZE_TEST 64"


@pytest.mark.parametrize("command", [
    "check data --report out --fix out/a.json",
    "compare one.json other.json --data data --samples 5 --output out/a.json",
    f"eval --weights model.pth --data data --output-dir out --report out {QUICK}",
    "eval --predictions one.json --data data --output-dir out --report out",
    f"predict photos --weights model.pth --output out {QUICK}",
    f"pseudo-label --weights model.pth --images photos --output out/a.json {QUICK}",
    "show data --count 1 --output out/a.png",
    "threshold model.pth --data data --predictions one.json --output out/a.pth",
])  # fmt: skip
def test_command_replaces_its_own_files(command: str, inputs: Path) -> None:
    for _ in range(2):
        with suppress(SystemExit):  # of check, which finds problems
            app(command.split(), exit_on_error=False)
    assert any((inputs / "out").iterdir())


def test_commands_do_not_replace_each_others_results(inputs: Path) -> None:
    app(f"predict photos --weights model.pth --output out {QUICK}".split(), exit_on_error=False)
    with suppress(SystemExit):
        app(["check", "data", "--report", "page"], exit_on_error=False)
    for command in (
        "eval --weights model.pth --data data --output-dir out",
        "eval --weights model.pth --data data --report page",
    ):
        with pytest.raises(ValueError, match="was not made by `centernet2 eval`"):
            app(command.split(), exit_on_error=False)


def test_thresholds_replace_no_other_weights(inputs: Path) -> None:
    save_untrained(inputs / "best.pth", ("block",), "MODEL.FPN.OUT_CHANNELS", "32")
    before = (inputs / "best.pth").read_bytes()
    words = "threshold model.pth --data data --predictions one.json --output best.pth"
    with pytest.raises(ValueError, match=r"best\.pth exists and is not a copy of model\.pth"):
        app(words.split(), exit_on_error=False)
    assert (inputs / "best.pth").read_bytes() == before


@pytest.mark.parametrize(
    "command", ["check data --fix data/a.json", "convert data data/out --to yolo"]
)
def test_copies_of_data_are_not_written_among_them(command: str, inputs: Path) -> None:
    before = sorted((inputs / "data").rglob("*"))
    with pytest.raises(ValueError, match="is in the data set data"):
        app(command.split(), exit_on_error=False)
    assert sorted((inputs / "data").rglob("*")) == before


@pytest.mark.parametrize("existed", [False, True])
def test_failed_conversion_leaves_nothing(
    inputs: Path, existed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copyfile

    def copy_three(source: Path, target: Path) -> None:
        if source.name == "4.png":
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        copy(source, target)

    monkeypatch.setattr(layout_writers.shutil, "copyfile", copy_three)
    if existed:
        (inputs / "out").mkdir()
    with pytest.raises(OSError, match="No space left"):
        app(["convert", "data", "out", "--to", "voc"], exit_on_error=False)
    assert (inputs / "out").exists() == existed and not list((inputs / "out").glob("*"))


def test_evaluation_deletes_its_own_files_only(inputs: Path) -> None:
    """An interrupted evaluation is in a folder whose name others may use."""
    unfinished = inputs / "out" / "unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "notes.jsonl").write_text("mine")
    (unfinished / "process0.jsonl").write_text("{}\n")
    words = f"eval --weights model.pth --data data --output-dir out {QUICK}"
    app(words.split(), exit_on_error=False)
    assert [path.name for path in unfinished.iterdir()] == ["notes.jsonl"]
