"""Cameras and streams: reconnection, changed sizes, the end of patience."""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from centernet2.predict import live_streams
from centernet2.predict.films import Film, FilmError, FilmFrame, FilmSource
from centernet2.predict.live_streams import CAMERAS, camera, live_frames, stream
from tests.helpers.films import require_av, write_film
from tests.helpers.rtsp_server import serve_rtsp
from tests.helpers.stream_server import serve_camera

require_av()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_streams, "FIRST_WAIT", 0.05)


def motion_jpeg(folder: Path, size: tuple[int, int]) -> bytes:
    """Return pictures of a height and width, one after the other."""
    return write_film(folder / "a.mjpeg", 30, codec="mjpeg", size=size).read_bytes()


def take_all(source: FilmSource, give_up: float) -> tuple[list[FilmFrame], str]:
    """Return all frames of a stream, and the message at its end."""
    frames: list[FilmFrame] = []
    with pytest.raises(FilmError) as end:
        for frame in live_frames(source, give_up=give_up):
            frames.append(frame)
    return frames, str(end.value)


def test_broken_stream_comes_back_with_another_size(caplog: pytest.LogCaptureFixture) -> None:
    with (
        serve_camera([(15, (48, 64)), (15, (96, 80))]) as address,
        caplog.at_level(logging.WARNING),
    ):
        frames, message = take_all(stream(address), give_up=1.5)
    sizes = [frame.image.shape[:2] for frame in frames]
    assert set(sizes) == {(48, 64), (96, 80)} and sizes == sorted(sizes)
    times = [frame.time for frame in frames]
    assert times[0] == 0 and times == sorted(times) and times[-1] > Fraction(3, 10)
    assert "Input/output error); connecting again" in caplog.text
    assert f"{address}: no frame for 1.5 s" in message and "5XX" in message


def test_rtsp_camera_that_breaks_comes_back_with_another_size(tmp_path: Path) -> None:
    films = [
        write_film(tmp_path / f"{size[0]}.ts", 40, codec="mpeg2video", size=size)
        for size in ((48, 64), (96, 80))
    ]
    with serve_rtsp(films) as address:
        frames, message = take_all(stream(address), give_up=2.0)
    sizes = [frame.image.shape[:2] for frame in frames]
    assert set(sizes) == {(48, 64), (96, 80)} and sizes == sorted(sizes)
    assert frames[0].time == 0 and f"{address}: no frame for 2 s" in message


def test_waits_between_connections_grow() -> None:
    times: list[float] = []

    def refuse(source: FilmSource) -> Film:
        times.append(time.monotonic())
        raise FilmError(source.name, "it is refused")

    with pytest.raises(FilmError, match=r"no frame for 1\.5 s; it is refused"):
        next(live_frames(camera(0), give_up=1.5, open_film=refuse))
    waits = [after - before for before, after in pairwise(times)]
    for number, wait in enumerate(waits[:-1]):  # the last one ends with the patience
        assert wait >= 0.05 * 2**number
    assert 1 < len(waits) < 6


def test_camera_that_is_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file stands in for the device: its pictures come, it ends, and it is opened again."""
    monkeypatch.setitem(CAMERAS, sys.platform, (f"{tmp_path}/video{{number}}", "mjpeg"))
    device = tmp_path / "video7"
    device.write_bytes(motion_jpeg(tmp_path, (48, 64)))
    frames = live_frames(camera(7), give_up=2.0)
    assert next(frames).image.shape == (48, 64, 3)
    device.write_bytes(motion_jpeg(tmp_path, (96, 80)))
    assert any(frame.image.shape == (96, 80, 3) for frame in frames)
    device.unlink()
    with pytest.raises(FilmError, match=r"camera 7: no frame for 2 s; .*No such file"):
        list(frames)


def test_stream_that_never_connects_ends_in_time() -> None:
    start = time.monotonic()
    frames, message = take_all(stream("rtsp://me:secret@127.0.0.1:9/nothing"), give_up=1.0)
    assert not frames and time.monotonic() - start < 5
    assert message.startswith("rtsp://me:***@127.0.0.1:9/nothing: no frame for 1 s; ")
    assert message.endswith("check the address") and "secret" not in message


def test_stream_that_sends_nothing_ends_in_time() -> None:
    with serve_camera([(0, (48, 64)), (1000, (48, 64))], pause=60) as address:
        start = time.monotonic()
        _, message = take_all(stream(address), give_up=1.0)
    assert time.monotonic() - start < 5 and "no frame for 1 s" in message


def test_missing_camera_is_named() -> None:
    _, message = take_all(camera(93), give_up=0.3)
    assert message.startswith("camera 93: no frame for 0.3 s")
    assert message.endswith("check that it is connected")


class CountingFilm:
    """A camera of 200 frames a second; the brightness is the number of the frame."""

    def __init__(self, source: FilmSource) -> None:
        self.sent = 0

    def __enter__(self) -> "CountingFilm":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def frames(self) -> Iterator[FilmFrame]:
        for index in range(100):
            time.sleep(0.005)
            yield FilmFrame(np.full((8, 8, 3), index, np.uint8), Fraction(index))


def test_slow_reader_gets_the_newest_frame() -> None:
    frames = live_frames(camera(0), give_up=5, open_film=CountingFilm)  # type: ignore[arg-type]
    next(frames)
    time.sleep(0.25)
    assert 20 < int(next(frames).image[0, 0, 0]) < 100
    frames.close()


def test_closed_stream_leaves_no_thread() -> None:
    before = threading.active_count()
    frames = live_frames(camera(0), give_up=5, open_film=CountingFilm)  # type: ignore[arg-type]
    next(frames)
    assert threading.active_count() == before + 1
    frames.close()
    assert threading.active_count() == before


def test_error_of_the_program_is_raised_where_frames_are_taken() -> None:
    def fail(source: FilmSource) -> Film:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        next(live_frames(camera(0), open_film=fail))
