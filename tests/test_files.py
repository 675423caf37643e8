import json
import os
from pathlib import Path

import pytest

from centernet2 import files
from centernet2.files import (
    cache_folder,
    decode_text,
    finite_or_none,
    is_image_file,
    open_atomic,
    read_text_file,
    remove_temporary,
    temporary_path,
    write_atomic,
    write_json,
)


def test_folders_and_pipes_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    os.mkfifo(tmp_path / "b.txt")
    with pytest.raises(ValueError, match=r"a\.txt: is a folder, where a file is needed; rename"):
        read_text_file(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"b\.txt: is not a regular file, where a file is needed"):
        read_text_file(tmp_path / "b.txt")


def test_writes_text_bytes_and_json(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.txt", "zwölf\n")
    write_atomic(tmp_path / "a.bin", b"\x00\xff")
    write_json(tmp_path / "a.json", {"猫": [1, 2.5]})
    assert (tmp_path / "a.txt").read_bytes() == "zwölf\n".encode()
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff"
    assert "猫" in (tmp_path / "a.json").read_text("utf-8")
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"猫": [1, 2.5]}
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "a.bin", "a.json"}


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
        assert not path.exists()
        assert temporary_path(path).exists()
    assert path.read_bytes() == b"[]"


def test_failed_json_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"path": tmp_path})
    assert not list(tmp_path.iterdir())


def test_missing_folders_are_created(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.json"
    write_json(path, [])
    assert [each.name for each in path.parent.iterdir()] == ["a.json"]


def test_numbers_that_json_lacks() -> None:
    assert [finite_or_none(x) for x in (1.5, float("nan"), float("inf"))] == [1.5, None, None]


def test_removes_temporary_files_of_killed_processes(tmp_path: Path) -> None:
    other, mine = tmp_path / "last.json", tmp_path / "model_0000005.pth"
    for path in (temporary_path(mine), temporary_path(other), mine, other):
        path.touch()
    remove_temporary(tmp_path, "*.pth.*")
    assert set(tmp_path.iterdir()) == {temporary_path(other), mine, other}


def test_cache_folder_follows_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path))
    assert cache_folder() == tmp_path
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
    """Only resumed downloads and checkpoints set aside are renamed elsewhere."""
    package = Path(files.__file__).parent
    users = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "os.replace(" in path.read_text("utf-8")
    }
    assert users <= {"files.py", "checkpoint/checkpoint.py", "zoo/download.py"}


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_reads_text_of_every_unicode_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes("cat\r\n猫\rzwölf\n".encode(encoding))
    assert read_text_file(path) == "cat\n猫\nzwölf\n"


@pytest.mark.parametrize(
    ("text", "encoding", "guess"),
    [
        ("cat\n红色\n绿色\n", "gbk", "GBK"),
        ("cat\n自動車\nバス\n", "shift_jis", "SHIFT_JIS"),
        ("car\n汽車\n行人\n", "big5", "BIG5"),
        ("car\n고양이\n", "euc-kr", "GBK or EUC-KR"),
        ("cat\nBär\nStraße\n", "cp1252", "CP1252"),
        ("cat\n\u043a\u043e\u0448\u043a\u0430\n", "cp1251", "CP1251"),
    ],
)
def test_names_the_likely_encoding_and_its_line(text: str, encoding: str, guess: str) -> None:
    advice = f"convert it, for example with `iconv -f {guess.split()[0]} -t UTF-8 a.txt`"
    with pytest.raises(ValueError) as error:
        decode_text(text.encode(encoding), Path("x/a.txt"))
    expected = f"x/a.txt, line 2: the text is not UTF-8 but probably {guess}; {advice}"
    assert str(error.value) == expected


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\x00", b"a\0b", b"\xff\xfea"])
def test_refuses_files_that_are_no_text(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"a\.txt: not a text file"):
        decode_text(content, Path("a.txt"))


def test_reads_an_empty_text_file() -> None:
    assert decode_text(b"", Path("a.txt")) == decode_text(b"\xef\xbb\xbf", Path("a.txt")) == ""
