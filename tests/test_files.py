import json
import math
from pathlib import Path

import pytest

from centernet2 import files
from centernet2.files import (
    cache_folder,
    files_below,
    finite_or_none,
    is_image_file,
    open_atomic,
    remove_temporary,
    stored_name,
    temporary_path,
    write_atomic,
    write_json,
)


def test_writes_text_bytes_and_json(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.txt", "zwölf\n")
    write_atomic(tmp_path / "a.bin", b"\x00\xff")
    write_json(tmp_path / "a.json", {"猫": [1, 2.5]})
    assert (tmp_path / "a.txt").read_bytes() == "zwölf\n".encode()
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff"
    assert "猫" in (tmp_path / "a.json").read_text("utf-8")
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"猫": [1, 2.5]}
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "a.bin", "a.json"}


def test_matrix_has_a_line_for_each_row(tmp_path: Path) -> None:
    content = {"[1]": ["[\n1", "b]"], "matrix": [[0, 1.5], [math.nan, 3]], "empty": [], "box": [1]}
    write_json(tmp_path / "a.json", content, indent=1)
    text = (tmp_path / "a.json").read_text()
    assert '"matrix": [\n  [0, 1.5],\n  [null, 3]\n ],' in text and '"box": [1]' in text
    assert json.loads(text) == {**content, "matrix": [[0, 1.5], [None, 3]]}


@pytest.mark.parametrize("durable", [False, True])
def test_failed_write_keeps_the_old_file(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "model.pth"
    write_atomic(path, "old")
    with pytest.raises(RuntimeError), open_atomic(path, durable=durable) as file:
        file.write(b"half of the new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with open_atomic(path, durable=True) as file:
        file.write(b"[]")
        (unfinished,) = tmp_path.iterdir()
        assert unfinished.suffix == ".tmp" and path.name in unfinished.name
    assert path.read_bytes() == b"[]"


def test_failed_json_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"path": tmp_path})
    assert not list(tmp_path.iterdir())


def test_missing_folders_are_created(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.json"
    write_json(path, [])
    assert [each.name for each in path.parent.iterdir()] == ["a.json"]


def test_numbers_that_json_lacks(tmp_path: Path) -> None:
    numbers = (1.5, float("nan"), float("inf"))
    assert [finite_or_none(x) for x in numbers] == [1.5, None, None]
    write_json(tmp_path / "a.json", {"AP": {"猫": numbers, "name": "NaN"}})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == {
        "AP": {"猫": [1.5, None, None], "name": "NaN"}
    }


def test_removes_temporary_files_of_killed_processes(tmp_path: Path) -> None:
    other, mine = tmp_path / "last.json", tmp_path / "model_0000005.pth"
    unfinished = temporary_path(other)
    for path in (temporary_path(mine), unfinished, mine, other):
        path.touch()
    remove_temporary(tmp_path, "*.pth.*")
    assert set(tmp_path.iterdir()) == {unfinished, mine, other}


def test_two_writers_of_a_file_do_not_mix(tmp_path: Path) -> None:
    """Processes of two containers may have one number."""
    with open_atomic(tmp_path / "a") as first:
        first.write(b"first")
        with open_atomic(tmp_path / "a") as second:
            second.write(b"2nd")
        assert (tmp_path / "a").read_bytes() == b"2nd"
    assert (tmp_path / "a").read_bytes() == b"first"


def test_cache_folder_follows_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv(files.CACHE_VARIABLE, "~nobody_of_this_name/cache")
    assert cache_folder() == Path("~nobody_of_this_name/cache")
    monkeypatch.delenv(files.CACHE_VARIABLE)
    assert cache_folder() == Path.home() / ".cache" / "centernet2"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.JPG", True), ("b/c.d.tiff", True), ("a.jpg.txt", False), (".png", False), ("a", False)],
)
def test_image_suffix_in_any_case(name: str, expected: bool) -> None:
    assert is_image_file(name) is expected
    assert is_image_file(Path(name)) is expected


def test_only_this_module_replaces_files() -> None:
    """Only films, resumed downloads and checkpoints set aside are renamed elsewhere."""
    package = Path(files.__file__).parent
    users = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "os.replace(" in path.read_text("utf-8")
    }
    elsewhere = {"checkpoint/checkpoint.py", "predict/film_writer.py", "zoo/download.py"}
    assert users <= {"files.py"} | elsewhere


def test_files_behind_links_are_below_a_folder(tmp_path: Path) -> None:
    for name in ("data/b.png", "data/a/1.png", "elsewhere/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "data")
    found = files_below(tmp_path / "data")
    assert [str(path.relative_to(tmp_path / "data")) for path in found] == [
        "b.png", "a/1.png", "link/2.png",
    ]  # fmt: skip


def test_long_name_with_accents_is_left_to_who_opens_it(tmp_path: Path) -> None:
    """A part of a path holds 255 bytes; names at the end of signed addresses are longer."""
    name = "é" * 200 + ".jpg"
    assert stored_name(tmp_path, name) == name
