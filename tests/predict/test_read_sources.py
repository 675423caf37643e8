"""Reading sources: all forms of an image give the same pixels, bad ones are named and skipped."""

import io
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from centernet2.images import storage
from centernet2.predict import live_streams
from centernet2.predict.live_streams import CAMERAS
from centernet2.predict.read_sources import NamedImage, read_sources
from centernet2.predict.sources import find_sources
from tests.helpers.films import require_av, write_film
from tests.helpers.stream_server import serve_camera, serve_endless, serve_files, serve_silence


def read(*words: str | int | Path, give_up: float = 1.0) -> tuple[list[NamedImage], list[str]]:
    """Return the images of sources, and the errors."""
    errors: list[str] = []
    sources = find_sources(words)
    images = read_sources(sources, lambda path, error: errors.append(str(error)), give_up=give_up)
    return list(images), errors


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def send(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put content on the standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))


def test_image_from_anywhere_is_the_same(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp", reason="addresses need fsspec[http], the extra [remote]")
    (photo.parent / "list.txt").write_text("a.png")
    send(photo.read_bytes(), monkeypatch)
    with serve_files(photo.parent) as address:
        words = [photo, photo.parent, photo.parent / "list.txt", "-", f"{address}/a.png"]
        found = [read(word) for word in words]
        named, errors = read(f"{address}/image")  # without a suffix
    expected = np.array(Image.open(photo))
    for images, none in [*found, (named, errors)]:
        assert not none and np.array_equal(images[0].image, expected)


def test_first_of_dark_images_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", "b.tif"):
        Image.fromarray(np.full((30, 40), 4095, np.uint16)).save(tmp_path / name)
    images, errors = read(tmp_path)
    assert (len(images), errors) == (2, [])
    (message,) = [record.getMessage() for record in caplog.records]
    assert "a.png: the image is nearly black" in message and "not named" in message


class Pipe(io.BytesIO):
    """Content that is read once, from its beginning."""

    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_film_in_a_pipe_has_the_same_frames(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if its index is at its end, beyond what FFmpeg keeps."""
    require_av()
    film = write_film(tmp_path / name, size=(720, 1280), codec="mjpeg")
    assert film.stat().st_size > 4 * io.DEFAULT_BUFFER_SIZE
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Pipe(film.read_bytes()))))
    (expected, _), (images, errors) = read(film), read("-")
    assert not errors and len(images) == len(expected) == 12
    assert all(np.array_equal(a.image, b.image) for a, b in zip(images, expected, strict=True))


def test_bad_files_are_named_and_skipped(photo: Path) -> None:
    (photo.parent / "b.png").write_bytes(b"no image")
    (photo.parent / "list.txt").write_text("b.png\ngone.png\na.png\n")
    images, errors = read(photo.parent / "list.txt")
    assert [each.path for each in images] == [photo]
    assert "b.png: not a readable image" in errors[0] and "gone.png" in errors[1]


def test_film_from_anywhere_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_av()
    film = write_film(tmp_path / "a.mkv")
    send(film.read_bytes(), monkeypatch)
    with serve_files(tmp_path) as address:
        found = [read(word) for word in (film, "-", f"{address}/a.mkv", f"{address}/film")]
    assert [errors for _, errors in found] == [[]] * 4
    for images, _ in found:
        assert [each.frame for each in images] == list(range(12))
        assert [each.time for each in images] == pytest.approx([i / 25 for i in range(12)])
        assert all(
            np.array_equal(a.image, b.image) for a, b in zip(images, found[0][0], strict=True)
        )


def test_film_of_a_file_system(tmp_path: Path) -> None:
    require_av()
    fsspec = pytest.importorskip("fsspec", reason="other file systems need fsspec, [remote]")
    fsspec.filesystem("memory").pipe("/a.mp4", write_film(tmp_path / "a.mp4").read_bytes())
    images, errors = read("memory://a.mp4")
    assert not errors and len(images) == 12


def test_stream_at_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    require_av()
    monkeypatch.setattr(live_streams, "FIRST_WAIT", 0.05)
    with serve_camera([(0, (48, 64)), (0, (48, 64)), (8, (48, 64))]) as address:
        images, errors = read(address, give_up=1.5)
    assert images and [each.frame for each in images] == list(range(len(images)))
    assert len(errors) == 1 and f"{address}: no frame for 1.5 s" in errors[0]


def test_camera_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_av()
    monkeypatch.setitem(CAMERAS, sys.platform, (f"{tmp_path}/{{number}}.mjpeg", "mjpeg"))
    write_film(tmp_path / "3.mjpeg", codec="mjpeg")  # a file in place of the device
    images = read_sources(find_sources([3]), lambda path, error: None)
    numbered = list(islice(images, 5))
    assert [(str(each.path), each.frame) for each in numbered] == [
        ("camera 3", index) for index in range(5)
    ]


@pytest.mark.parametrize("name", ["live.ts", "live"])
def test_endless_film_at_an_address(tmp_path: Path, name: str) -> None:
    require_av()
    content = write_film(tmp_path / "a.ts", 60, codec="mpeg2video").read_bytes()
    with serve_endless(content, "video/mp2t") as address:
        images = read_sources(find_sources([f"{address}/{name}"]), lambda path, error: None)
        numbered = list(islice(images, 3))
    assert [each.frame for each in numbered] == [0, 1, 2] and numbered[0].time == 0


@pytest.mark.parametrize("name", ["live", "film.mp4"])
def test_address_that_never_answers_ends_in_time(name: str) -> None:
    require_av()
    with serve_silence() as address:
        start = time.monotonic()
        images, errors = read(f"{address}/{name}", give_up=1.0)
    assert not images and time.monotonic() - start < 10
    assert len(errors) == 1 and f"{address}/{name}: " in errors[0]
    assert "no answer within 1 s" in errors[0] or "no data for 1 s" in errors[0]


def test_image_at_an_address_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp", reason="addresses need fsspec[http], the extra [remote]")
    monkeypatch.setattr(storage, "STALLED_SECONDS", 0.2)
    monkeypatch.setattr(storage, "RETRY_PAUSES", (0.1,))
    with serve_silence() as address:
        images, errors = read(f"{address}/a.jpg")
    assert not images and "a.jpg: the image cannot be opened" in errors[0]
    assert "after 2 tries" in errors[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the standard input is empty"), (b"\xff", "the standard input: it cannot be read")],
)
def test_unusable_standard_input_is_named(
    content: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_av()
    send(content, monkeypatch)
    images, errors = read("-")
    assert not images and errors[0].startswith(message)


def test_closed_standard_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    images, errors = read("-")
    assert not images and "send an image or a film to it" in errors[0]


def test_address_with_a_space_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp", reason="addresses need fsspec[http], the extra [remote]")
    monkeypatch.setattr(storage, "RETRY_PAUSES", ())
    images, errors = read("http://127.0.0.1:9/a b")
    assert not images and "a b: the image cannot be opened" in errors[0]


def test_unknown_scheme_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec", reason="addresses need fsspec, the extra [remote]")
    monkeypatch.setattr(storage, "RETRY_PAUSES", (1000.0,))
    images, errors = read("foo://user:secret@host/a.jpg")
    assert not images and "Protocol not known: foo" in errors[0] and "tries" not in errors[0]
    assert "secret" not in errors[0]


def test_film_that_cannot_be_read_is_skipped(photo: Path) -> None:
    require_av()
    (photo.parent / "b.mp4").write_bytes(b"no film" * 100)
    images, errors = read(photo.parent)
    assert len(images) == 1 and "b.mp4: it cannot be read as a film" in errors[0]
