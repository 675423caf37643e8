"""Where outputs can be written, and which files they may replace."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from centernet2 import outputs
from centernet2.files import write_json
from centernet2.jobs.predict import predict
from centernet2.outputs import (
    is_made_by,
    json_mark,
    mark_of,
    only_run_in,
    require_replaceable,
    writable_file,
    writable_folder,
)

HOLD = """
import sys
from pathlib import Path
from centernet2.outputs import only_run_in
with only_run_in(Path(sys.argv[1]), "prediction", "--output"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_unwritable_outputs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "a.json"
    assert writable_file(path, command="compare") == path
    assert writable_folder(path.parent, "--report") == path.parent
    assert not path.parent.exists()
    with pytest.raises(ValueError, match=r"--output .* is a folder; give the path of a file"):
        writable_file(tmp_path)
    (tmp_path / "new").touch()
    with pytest.raises(ValueError, match=r"--fix .*a\.json cannot be used: .*new is not a folder"):
        writable_file(path, "--fix")
    with pytest.raises(ValueError, match=r"--report .*new cannot be used: .*new is not a folder"):
        writable_folder(path.parent, "--report")
    monkeypatch.setattr(outputs, "TemporaryFile", refuse)
    with pytest.raises(ValueError, match="cannot be written; choose another"):
        writable_file(tmp_path / "a.json")


@pytest.mark.parametrize("name", ["x.png", "x.JPG", "report.html", "film.mp4", "a.json"])
def test_name_of_a_file_is_no_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(ValueError, match=rf"--output .*{name} has the name of a file, .* such as"):
        writable_folder(path, "--output", command="explain")
    assert not path.exists()
    path.mkdir()  # whoever has such a folder means it
    assert writable_folder(path, "--output", command="explain") == path


def refuse(dir: Path) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", dir)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
def test_folder_that_takes_no_files_in_spite_of_its_permissions() -> None:
    for path in (Path("/proc/a.json"), Path("/proc/new/a.json")):
        with pytest.raises(ValueError, match=r"--output .*: /proc cannot be written; choose"):
            writable_file(path)


def test_probing_leaves_nothing_behind(tmp_path: Path) -> None:
    writable_folder(tmp_path, "--output")
    assert not list(tmp_path.iterdir())


def test_link_to_nothing_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "unmounted")
    with pytest.raises(ValueError, match=r"out is not a folder"):
        writable_folder(tmp_path / "out", "--output")
    with pytest.raises(ValueError, match=r"out is not a folder"):
        writable_file(tmp_path / "out" / "a.json")


@pytest.mark.parametrize("name", ["a.json", "page.html", "list.txt"])
def test_own_files_are_recognized_by_their_command(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.json":
        write_json(path, json_mark("pseudo-label") | {"images": []}, indent=1)
    else:
        path.write_text(f"<!doctype html>\n<!-- {mark_of('pseudo-label')} -->\n")
    assert is_made_by(path, "pseudo-label")
    assert not is_made_by(path, "compare") and not is_made_by(path, "pseudo")
    require_replaceable(path, "pseudo-label", "--output")


@pytest.mark.parametrize("content", ["", " \n", "[]", "[]\n"])
def test_files_that_hold_nothing_are_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    assert writable_file(tmp_path / "a.json", command="compare")


@pytest.mark.parametrize("kind", ["file", "link"])
def test_file_of_other_origin_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"images": [], "categories": [{"id": 1, "name": "centernet2"}]}))
    if kind == "link":
        (tmp_path / "link.json").symlink_to(path)
        path = tmp_path / "link.json"
    words = r"json exists and was not made by `centernet2 compare`, which would replace it"
    with pytest.raises(ValueError, match=words):
        writable_file(path, command="compare")
    with pytest.raises(ValueError, match=words):
        writable_folder(tmp_path, "--report", command="compare", files=["b.json", path.name])


def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    """Renaming a file onto /dev/null would replace it."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(ValueError, match="no regular file"):
            writable_file(path, command="compare")


def test_lock_file_that_its_run_removes_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends after another process has opened the file, and before that one locks it."""
    fcntl = pytest.importorskip("fcntl")
    path, lock = tmp_path / "run" / ".training.lock", fcntl.lockf

    def end_and_lock(*arguments: object) -> None:
        monkeypatch.setattr(fcntl, "lockf", lock)
        path.unlink()
        path.parent.rmdir()
        lock(*arguments)

    monkeypatch.setattr(fcntl, "lockf", end_and_lock)
    with only_run_in(path.parent, "training", "--output-dir"):
        assert path.read_text() == f"{os.getpid()}\n"


def test_folder_is_held_by_one_run_until_its_process_ends(tmp_path: Path) -> None:
    output = tmp_path / "new" / "run"
    with only_run_in(output, "prediction", "--output"):
        assert [path.name for path in output.iterdir()] == [".prediction.lock"]
    assert not output.parent.exists()  # still empty
    (tmp_path / "a.jpg").touch()
    words = [sys.executable, "-c", HOLD, str(output)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        refusal = (
            rf"another prediction run \(process {other.pid}\) is writing .*run; wait until it has "
            "ended, or give another --output"
        )
        with pytest.raises(ValueError, match=refusal):
            predict(tmp_path / "a.jpg", weights="model.pth", output=output)
        with only_run_in(output, "training", "--output-dir"):
            pass
        other.kill()
    assert (output / ".prediction.lock").exists()
    with only_run_in(output, "prediction", "--output"):
        (output / "a.json").touch()
    assert [path.name for path in output.iterdir()] == ["a.json"]


@pytest.mark.parametrize("path", ["$MY_SCRATCH/run", "${MY_SCRATCH}/run"])
def test_variables_of_the_shell_are_no_folders(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("MY_SCRATCH", "/scratch")
    with pytest.raises(ValueError, match=r"OUTPUT_DIR .* names a variable, which only a shell"):
        writable_folder(Path(path), "OUTPUT_DIR")
