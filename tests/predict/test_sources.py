"""Sources by name: folders, patterns, lists, films, cameras, addresses."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from centernet2.pictures import save_picture
from centernet2.predict.sources import (
    Source,
    SourceKind,
    find_images,
    find_sources,
    is_image_content,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a photograph, one in a folder below, and a film; the current folder."""
    for name in ("a.PNG", "deep/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30)).save(tmp_path / name)
    (tmp_path / "deep" / "film.MP4").write_bytes(b"film")
    (tmp_path / "notes.md").write_text("neither")
    (tmp_path / "._a.png").write_bytes(b"metadata of macOS")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kinds(*words: str | int | Path) -> list[tuple[str, str]]:
    return [(str(path), kind.value) for path, kind in find_sources(words)]


def test_folders_and_patterns_have_images_and_films(folder: Path) -> None:
    found = [("a.PNG", "image"), ("deep/b.jpg", "image"), ("deep/film.MP4", "film")]
    assert kinds(".") == found
    assert kinds("**/*") == found
    assert kinds("deep", "a.PNG", str(folder / "a.PNG")) == [*found[1:], found[0]]
    assert find_images([folder]) == [folder / "a.PNG", folder / "deep/b.jpg"]


@pytest.mark.parametrize(("word", "path", "kind"), [
    ("0", "camera 0", "stream"),
    (2, "camera 2", "stream"),
    ("-", "-", "stdin"),
    ("rtsp://user@host:554/live", "rtsp://user@host:554/live", "stream"),
    ("udp://@:1234", "udp://@:1234", "stream"),
    ("https://host/a.jpg?size=2", "https://host/a.jpg?size=2", "image"),
    ("https://host/a.mp4", "https://host/a.mp4", "film"),
    ("https://host/list.m3u8", "https://host/list.m3u8", "film"),
    ("http://host:8080/video", "http://host:8080/video", "address"),
    ("s3://bucket/a.mkv", "s3://bucket/a.mkv", "film"),
    ("s3://bucket/a", "s3://bucket/a", "image"),
    ("s3://bucket//a/", "s3://bucket//a/", "image"),  # slashes have a meaning there
    (Path("s3://bucket/a"), "s3://bucket/a", "image"),
])  # fmt: skip
def test_kind_of_a_word(word: str | int | Path, path: str, kind: str) -> None:
    assert kinds(word) == [(path, kind)]


def test_named_file_is_known_by_its_content(folder: Path) -> None:
    Image.new("RGB", (4, 3)).save(folder / "photo", "jpeg")
    (folder / "1").write_bytes((folder / "a.PNG").read_bytes())
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert ("phone.heic", "image") in kinds(".")
    assert kinds("photo", "1", "notes.md", "phone.heic") == [
        ("photo", "image"), ("1", "image"), ("notes.md", "image"), ("phone.heic", "image"),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 3, 9])
def test_short_file_is_no_image(folder: Path, size: int) -> None:
    (folder / "short").write_bytes(b"\xff" * size)
    assert len(kinds("short")) == 1 and not is_image_content(b"\xff" * size)


def test_animated_gif_is_a_film(folder: Path) -> None:
    frames = [Image.new("RGB", (4, 3), color) for color in ("red", "blue", "green")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "still.gif")
    (folder / "damaged.gif").write_bytes(b"GIF89a")
    assert kinds("moving.gif", "still.gif", "damaged.gif") == [
        ("moving.gif", "film"), ("still.gif", "image"), ("damaged.gif", "image"),
    ]  # fmt: skip


def test_list_of_paths(folder: Path) -> None:
    (folder / "lists").mkdir()
    Image.new("RGB", (4, 3)).save(folder / "lists" / "beside.png")
    lines = ["# chosen", "", "a.PNG", " deep/*.jpg ", "beside.png", "gone.jpg", "http://h/x.png"]
    (folder / "lists" / "list.txt").write_text("\r\n".join(lines), encoding="utf-16")
    assert kinds("lists/list.txt") == [
        ("a.PNG", "image"), ("deep/b.jpg", "image"), ("lists/beside.png", "image"),
        ("gone.jpg", "image"), ("http://h/x.png", "image"),
    ]  # fmt: skip
    (folder / "empty.txt").write_text("\n# nothing\n")
    with pytest.raises(FileNotFoundError, match=r"empty\.txt: .*no line with a path"):
        find_sources(["empty.txt"])


def test_home_folder_is_meant_by_a_tilde(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    (folder / "list.txt").write_text("~/a.PNG")
    found = [find_sources([word])[0].path for word in ("~/a.PNG", "~/list.txt", Path("~/a.P*"))]
    assert found == [folder / "a.PNG"] * 3


def test_own_pictures_are_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    drawn = folder / "out" / "00000_a.png"
    save_picture(Image.fromarray(np.zeros((8, 8, 3), np.uint8)), drawn)
    with caplog.at_level(logging.INFO):
        assert len(find_sources(["."])) == 3
    assert "left out: 1 picture that centernet2 has drawn" in caplog.text
    assert find_sources([drawn]) == [Source(drawn, SourceKind.IMAGE)]  # it is named
    with pytest.raises(FileNotFoundError, match=r"out: no image found; it has only 1 picture"):
        find_sources(["out"])


@pytest.mark.parametrize("word", ["", " ", "absent.jpg", "*.bmp", "empty"])
def test_nothing_is_named(folder: Path, word: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no image found"):
        find_sources(["a.PNG", word])


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"PK\3\4", "archive"),
        (b"\x1f\x8b\x08", "archive"),
        (b"7z\xbc\xaf", "archive"),
        (b"Rar!", "archive"),
        (b"a.png".ljust(257, b"\0") + b"ustar", "archive"),
        (b"%PDF-1.7", "PDF file"),
        (b"\x93NUMPY", "array of NumPy"),
    ],
)
def test_other_kind_of_file_is_named(folder: Path, start: bytes, kind: str) -> None:
    (folder / "photos").write_bytes(start + bytes(400))
    with pytest.raises(FileNotFoundError, match=f"photos: no image found; it is an? {kind}"):
        find_sources([str(folder / "photos")])


def test_find_images_takes_addresses_and_each_file_once(folder: Path) -> None:
    assert find_images(["a.PNG", str(folder / "a.PNG"), "./a.PNG"]) == [Path("a.PNG")]
    assert find_images([str(folder / "**/*.jpg"), "a.PNG"]) == [
        folder / "deep/b.jpg",
        Path("a.PNG"),
    ]
    assert find_images(["memory://a.png"]) == [Path("memory://a.png")]
    with pytest.raises(FileNotFoundError, match="an empty name is given"):
        find_images([""])


def test_pipe_is_no_image(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    with pytest.raises(FileNotFoundError, match="no image found; it is not a regular file"):
        find_images([folder / "pipe.png"])


def test_single_path_in_place_of_a_list_is_refused(tmp_path: Path) -> None:
    for single in ("photos", tmp_path):
        with pytest.raises(ValueError, match="give a list"):
            find_images(single)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ['{"images": []}', "<annotation/>", "a,b\n", "", "\ufeffa.png", "照片目录/a.png"]
)
def test_text_is_no_film(folder: Path, text: str) -> None:
    """The reader of images says that it is none; that of films may not be installed."""
    (folder / "train.json").write_text(text, "utf-8")
    assert kinds("train.json") == [("train.json", "image")]
