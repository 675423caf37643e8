import os
from pathlib import Path

import pytest

from centernet2.text_files import decode_text, read_text_file


def test_folders_and_pipes_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    os.mkfifo(tmp_path / "b.txt")
    with pytest.raises(ValueError, match=r"a\.txt: is a folder, where a file is needed; rename"):
        read_text_file(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"b\.txt: is not a regular file, where a file is needed"):
        read_text_file(tmp_path / "b.txt")


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_reads_text_of_every_unicode_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes("cat\r\n猫\rzwölf\n".encode(encoding))
    assert read_text_file(path) == "cat\n猫\nzwölf\n"


@pytest.mark.parametrize(("text", "encoding", "guess"), [
    ("cat\n红色\n绿色\n", "gbk", "GBK"),
    ("cat\n自動車\nバス\n", "shift_jis", "SHIFT_JIS"),
    ("car\n汽車\n行人\n", "big5", "BIG5"),
    ("car\n고양이\n", "euc-kr", "GBK or EUC-KR"),
    ("cat\nBär\nStraße\n", "cp1252", "CP1252"),
    ("cat\n\u043a\u043e\u0448\u043a\u0430\n", "cp1251", "CP1251"),
])  # fmt: skip
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
