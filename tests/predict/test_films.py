"""Films: frames at their times, damaged and turned films, sound that is kept."""

import re
import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from centernet2.outputs import is_own_picture
from centernet2.predict import film_writer
from centernet2.predict.film_writer import FilmWriter
from centernet2.predict.films import Film, FilmError, FilmFrame, FilmSource
from tests.helpers.films import SIZE, brightness, require_av, sound_of, write_film

require_av()
CODECS = {".avi": "mpeg4", ".webm": "libvpx-vp9", ".mpg": "mpeg2video", ".ts": "mpeg2video"}


def source(path: Path) -> FilmSource:
    return FilmSource(str(path), str(path))


def incomplete_frames_of(path: Path) -> tuple[list[FilmFrame], str]:
    """Return the frames of a film before it ends with an error, and the error."""
    frames: list[FilmFrame] = []
    with Film(source(path)) as film, pytest.raises(FilmError) as error:
        for frame in film.frames():
            frames.append(frame)
    return frames, str(error.value)


def frames_of(path: Path) -> list[FilmFrame]:
    with Film(source(path)) as film:
        return list(film.frames())


def rewritten(path: Path, *, sound: bool = False) -> Path:
    """Write the frames of a film to b.mp4 beside it."""
    sound_of = source(path) if sound else None
    with Film(source(path)) as film, FilmWriter(path.with_name("b"), film.rate, sound_of) as writer:
        for frame in film.frames():
            writer.write(*frame)
    return writer.path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov", ".webm", ".mpg", ".ts"])
def test_every_frame_is_read_at_its_time(tmp_path: Path, suffix: str) -> None:
    frames = frames_of(write_film(tmp_path / f"a{suffix}", codec=CODECS.get(suffix, "libx264")))
    assert len(frames) == 12 and frames[0].image.shape == (*SIZE, 3)
    for index, (image, _) in enumerate(frames):
        assert abs(image.mean() - brightness(index)) < 3
    steps = [float(b.time - a.time) for a, b in pairwise(frames)]
    assert steps == pytest.approx([0.04] * 11, abs=0.002)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_times_of_a_variable_rate_are_kept(tmp_path: Path, suffix: str) -> None:
    times = [Fraction(t, 100) for t in (0, 4, 9, 30, 31, 55)]
    path = write_film(tmp_path / f"a{suffix}", 6, times=times)
    for film in (path, rewritten(path)):
        assert [frame.time for frame in frames_of(film)] == times


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30000, 1001), Fraction(50)])
def test_written_film_has_rate_frames_and_mark(tmp_path: Path, rate: Fraction) -> None:
    path = write_film(tmp_path / "a.mp4", rate=rate)
    written = rewritten(path)
    with Film(source(written)) as again:
        assert again.rate == rate and again.count == 12
        times = [frame.time for frame in again.frames()]
    assert times == pytest.approx([i / rate for i in range(12)], abs=1 / 90_000)
    assert is_own_picture(written) and not is_own_picture(path)


@pytest.mark.parametrize(
    ("suffix", "codec", "expected"),
    [(".mp4", "aac", "aac"), (".mkv", "libopus", "opus"), (".mkv", "pcm_s16le", "aac")],
)
def test_sound_is_kept(tmp_path: Path, suffix: str, codec: str, expected: str) -> None:
    path = write_film(tmp_path / f"a{suffix}", 50, sound=codec)
    ((name, seconds),) = sound_of(rewritten(path, sound=True))
    assert name == expected and seconds == pytest.approx(2, abs=0.06)


def test_copied_sound_is_the_same_packets(tmp_path: Path) -> None:
    def packets(path: Path) -> list[tuple[bytes, int]]:
        with require_av().open(str(path)) as container:
            return [(bytes(p), p.pts) for p in container.demux(audio=0) if p.size]

    path = write_film(tmp_path / "a.mp4", 25, sound="aac")
    assert packets(rewritten(path, sound=True)) == packets(path) != []


def test_films_that_are_joined_run_on(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.ts", 50, codec="mpeg2video", sound="aac")
    path.write_bytes(2 * path.read_bytes())  # its times begin anew in the middle
    frames = frames_of(path)
    steps = [float(b.time - a.time) for a, b in pairwise(frames)]
    assert steps == pytest.approx([0.04] * 99, abs=0.002)
    with FilmWriter(tmp_path / "b", Fraction(25), source(path)) as writer:
        for frame in frames:
            writer.write(*frame)
    assert sound_of(tmp_path / "b.mp4")[0][1] == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("codec", ["aac", "mp2"])  # copied, encoded anew
def test_damaged_sound_ends_no_film(
    tmp_path: Path, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_film(tmp_path / "a.ts", 25, codec="mpeg2video", sound=codec)
    content = path.read_bytes()
    path.write_bytes(content + content[len(content) // 3 :])  # its times run backwards
    with FilmWriter(tmp_path / "b", Fraction(25), source(path)) as writer:
        for index in range(50):
            writer.write(np.zeros((*SIZE, 3), np.uint8), Fraction(index, 25))
    assert len(frames_of(tmp_path / "b.mp4")) == 50
    assert sound_of(tmp_path / "b.mp4")[0][1] > 0.9
    assert ("of sound, which are damaged in the film" in caplog.text) == (codec == "aac")


def test_interrupted_film_keeps_its_beginning(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", 50, sound="aac")
    with (
        pytest.raises(KeyboardInterrupt),
        FilmWriter(tmp_path / "b", Fraction(25), source(path)) as writer,
    ):
        for index, frame in enumerate(frames_of(path)):
            if index == 25:
                raise KeyboardInterrupt
            writer.write(*frame)
    assert len(frames_of(tmp_path / "b.mp4")) == 25
    assert sound_of(tmp_path / "b.mp4")[0][1] == pytest.approx(1, abs=0.06)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_missing_encoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_writer, "ENCODER", "absent")
    with pytest.raises(ValueError, match=r"with the encoder absent, .* --write json"):
        FilmWriter(tmp_path / "b", Fraction(25))
    assert list(tmp_path.iterdir()) == []


def test_frames_that_are_too_large_are_named(tmp_path: Path) -> None:
    sentence = r"b\.mp4: frames of 17000 x 20 pixels cannot be encoded"
    with pytest.raises(ValueError, match=sentence), FilmWriter(tmp_path / "b", Fraction(25)) as own:
        own.write(np.zeros((20, 17_000, 3), np.uint8), Fraction(0))


def test_film_without_frames_is_not_written(tmp_path: Path) -> None:
    with FilmWriter(tmp_path / "b", Fraction(25)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_odd_sizes_are_padded(tmp_path: Path) -> None:
    image = np.full((33, 47, 3), 100, np.uint8)
    with FilmWriter(tmp_path / "a", Fraction(10)) as writer:
        writer.write(image, Fraction(0))
    (frame,) = frames_of(tmp_path / "a.mp4")
    assert frame.image.shape == (34, 48, 3) and np.abs(frame.image - 100.0).max() < 4


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_film_is_upright(tmp_path: Path, degrees: int) -> None:
    """Telephones store frames as the sensor sees them, and the rotation beside them."""
    path = tmp_path / "a.mp4"
    image = np.full((*SIZE, 3), 30, np.uint8)
    image[: SIZE[0] // 2] = 200  # bright above
    with FilmWriter(tmp_path / "a", Fraction(25)) as writer:
        writer.write(image, Fraction(0))
    _turn(path, degrees)
    (frame,) = frames_of(path)
    expected = np.rot90(image, -degrees // 90)
    assert frame.image.shape == expected.shape
    assert np.abs(frame.image - expected.astype(float)).mean() < 8


def _turn(path: Path, degrees: int) -> None:
    """Write a clockwise rotation to the matrix of the track header of an MP4 file."""
    content = bytearray(path.read_bytes())
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    turned = struct.pack(
        ">9i", cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30
    )
    at = content.index(identity, content.index(b"tkhd"))
    content[at : at + len(identity)] = turned
    path.write_bytes(content)


def test_damaged_frames_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.avi", 40, codec="mjpeg")
    content = bytearray(path.read_bytes())
    for at in range(len(content) // 3, len(content) // 2):
        content[at] = 0
    path.write_bytes(content)
    frames, message = incomplete_frames_of(path)
    assert 10 < len(frames) < 40
    assert re.search(r"a\.avi: \d+ of \d+ frames are damaged and left out", message)
    assert abs(frames[-1].image.mean() - brightness(39)) < 3


@pytest.mark.parametrize(("suffix", "codec"), [
    (".mkv", "mjpeg"), (".avi", "mpeg4"), (".flv", "flv1"), (".ts", "mpeg2video"),
    (".mpg", "mpeg2video"),
])  # fmt: skip
def test_frames_that_the_reader_skips_are_counted(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write_film(tmp_path / f"a{suffix}", 100, codec=codec, size=(144, 176))
    content = bytearray(path.read_bytes())
    start, end = len(content) * 4 // 10, len(content) * 6 // 10
    content[start:end] = bytes(end - start)
    path.write_bytes(content)
    frames, message = incomplete_frames_of(path)
    assert 60 < len(frames) < 90
    lost, total = map(int, re.findall(r"(\d+) of (\d+) frames are damaged", message)[0])
    assert len(frames) + lost == total and 97 <= total <= 101


def test_cut_of_a_recording_is_no_damage(tmp_path: Path) -> None:
    """Its packets are marked as after a loss."""
    parts = []
    for start in (0, 300):
        times = [start + Fraction(index, 25) for index in range(50)]
        path = tmp_path / f"{start}.ts"
        write_film(path, 50, times=times)
        parts.append(path.read_bytes())
    (tmp_path / "a.ts").write_bytes(b"".join(parts))
    with require_av().open(str(tmp_path / "a.ts")) as container:
        assert any(packet.is_corrupt for packet in container.demux())
    assert len(frames_of(tmp_path / "a.ts")) == 100


def test_padding_and_a_wrong_count_are_no_damage(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.avi", 40, codec="mjpeg")
    content = bytearray(path.read_bytes())
    padding = b"JUNK" + struct.pack("<I", 2000) + bytes(2000)
    movie = content.index(b"movi")
    middle = content.index(b"00dc", (movie + content.index(b"idx1")) // 2)
    content[middle:middle] = padding
    header = content.index(b"strh") + 40  # its number of frames
    for at, change in ((4, len(padding)), (movie - 4, len(padding)), (header, 1)):
        (value,) = struct.unpack_from("<I", content, at)
        struct.pack_into("<I", content, at, value + change)
    path.write_bytes(content)
    with Film(source(path)) as film:
        assert film.count == 41
        assert len(list(film.frames())) == 40


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi", ".flv"])
def test_film_that_was_cut_off_is_named(tmp_path: Path, suffix: str) -> None:
    path = write_film(tmp_path / f"a{suffix}", 100, codec=CODECS.get(suffix, "libx264"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    frames, message = incomplete_frames_of(path)
    assert 30 < len(frames) < 80 and "it was cut off; copy or download it again" in message


def test_film_whose_times_begin_late_is_whole(tmp_path: Path) -> None:
    times = [1000 + Fraction(index, 25) for index in range(50)]
    path = write_film(tmp_path / "a.mkv", 50, times=times)
    assert [frame.time for frame in frames_of(path)][:2] == [0, Fraction(1, 25)]


def test_film_whose_sound_lasts_longer_is_whole(tmp_path: Path) -> None:
    times = [Fraction(index, 1000) for index in range(50)]
    path = write_film(tmp_path / "a.mkv", 50, times=times, sound="libopus")  # of 2 seconds
    assert len(frames_of(path)) == 50


def test_film_without_frames_is_named(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.avi", 1, codec="mjpeg")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"movi") + 4])  # where its frames begin
    frames, message = incomplete_frames_of(path)
    assert not frames and "a.avi: the film has no frame that can be read" in message


def test_film_without_its_index_is_named(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", 50)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FilmError, match=r"a\.mp4: it (holds no film|cannot be read)"):
        Film(source(path))


@pytest.mark.parametrize(("content", "words"), [
    (b"", r"a\.mp4: it cannot be read as a film"),
    (b"no film" * 500, r"a\.mp4: it cannot be read as a film"),
    (None, r"a\.mp4: it cannot be read as a film .*[Nn]o such file"),
])  # fmt: skip
def test_unreadable_film_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(FilmError, match=words):
        Film(source(tmp_path / "a.mp4"))


def test_file_of_sound_alone_is_named(tmp_path: Path) -> None:
    av = require_av()
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        audio = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=8000)
        frame.sample_rate = 8000
        container.mux(audio.encode(frame))
    with pytest.raises(FilmError, match=r"a\.wav: the file has no pictures, only sound"):
        Film(source(tmp_path / "a.wav"))
