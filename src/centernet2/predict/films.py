"""Read the frames of films, cameras and streams with PyAV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from types import ModuleType
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from centernet2.files import printable
from centernet2.structures import Pixels

VIDEO_SUFFIXES = (  # in lower case; other names of films are recognized by their content
    ".3g2", ".3gp", ".asf", ".avi", ".f4v", ".flv", ".m1v", ".m2ts", ".m2v", ".m3u8", ".m4v",
    ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpd", ".mpeg", ".mpg", ".mts", ".mxf", ".ogg",
    ".ogv", ".rm", ".rmvb", ".swf", ".ts", ".vob", ".webm", ".wmv", ".y4m",
)  # fmt: skip
DEFAULT_RATE = Fraction(25)  # frames per second, of films that do not state it
SECOND = 1_000_000  # in the unit of a container's times
WITHOUT_LENGTH = ("avi",)  # formats whose header states the number of frames instead
RESTARTED = 1  # seconds by which times run backwards where a recording begins anew
SHORT = Fraction(1, 20)  # of the stated length, by which headers may be wrong
# formats whose readers skip damaged parts, and the bytes that are at most between their packets
HEAD_BYTES = {"matroska,webm": 100, "flv": 100, "avi": 100, "mpeg": 10_000}
CUT = 10  # seconds without frames, from which they are a cut unless bytes of the file are missing
MISCOUNT = Fraction(1, 100)  # of the frames that the header of an AVI file states
DELAY_FRAMES = 64  # after a packet, within which its frame comes out of the decoder
BEFORE_FRAMES = (b"ftyp", b"free", b"skip", b"uuid", b"wide")  # boxes of MP4 and QuickTime files


class FilmError(ValueError):
    """A film or stream that cannot be read.

    Args:
        name: of the film.
        reason: what is wrong.
        advice: what to do.
    """

    def __init__(self, name: str, reason: str, advice: str = "check it, or leave it out") -> None:
        super().__init__(f"{name}: {reason}; {advice}")
        self.reason = reason


class FilmSource(NamedTuple):
    """What PyAV opens."""

    file: str | BinaryIO  # path, address, device or open file
    name: str  # for messages
    format: str | None = None  # None: by name and content
    options: Mapping[str, str] = {}  # of FFmpeg
    timeout: float | None = None  # seconds without data; None: wait for ever


class FilmFrame(NamedTuple):
    """A frame of a film."""

    image: Pixels  # upright
    time: Fraction  # seconds from the start of the film


class Timeline:
    """Times that run on where a recording starts again, as in joined films."""

    def __init__(self) -> None:
        self._end: Fraction | None = None
        self._offset = Fraction(0)

    def place(self, time: Fraction, length: Fraction) -> Fraction:
        """Return the time of the next frame or packet, of a length in seconds."""
        if self._end is not None and time + self._offset < self._end - RESTARTED:
            self._offset = self._end - time
        placed = time + self._offset
        self._end = max(self._end or placed, placed + length)
        return placed


class Holes:
    """Count the frames that are missing where bytes of a file give no packet.

    Many readers skip a damaged part without an error. AVI files have no times, so there the number
    of frames that the header states tells what is missing.

    Args:
        format: of the film.
        rate: frames per second.
    """

    def __init__(self, format: str, rate: Fraction) -> None:
        self.found = False
        self.missing = 0  # frames, about if the rate varies
        self._most, self._rate = HEAD_BYTES.get(format), rate
        self._place: int | None = None  # in the file, of the last packet
        self._end = 0  # of the packets at this place
        self._watched = 0  # next frames, which a hole may precede

    def add_packet(self, packet: Any) -> None:
        """Look for a hole before the next packet of the file."""
        if packet.is_corrupt:  # as the packets of .ts files tell
            self._watched = DELAY_FRAMES
        if self._most is not None and packet.pos is not None:
            if packet.pos != self._place:  # a block may hold several packets
                if self._place is not None and packet.pos - self._end > self._most:
                    self.found, self._watched = True, DELAY_FRAMES
                self._place = self._end = packet.pos
            self._end += packet.size

    def add_frame(self, seconds: Fraction) -> None:
        """Count what is missing before the next frame, by the seconds since the last."""
        if self._watched:
            self._watched -= 1
            if not self.found and seconds >= CUT:  # as of a recorder, at which .ts files break too
                return
            self.missing += max(0, round(seconds * self._rate) - 1)


def import_av() -> ModuleType:
    """Import PyAV, which brings FFmpeg; a ValueError names the extra."""
    try:
        import av
    except ImportError as error:
        raise ValueError("films and streams need PyAV; pip install 'centernet2[video]'") from error
    module: ModuleType = av
    return module


def index_is_last(start: bytes) -> bool:
    """Whether an MP4 or QuickTime file has its frames (mdat) before its index (moov)."""
    place = 0
    while (kind := start[place + 4 : place + 8]) in BEFORE_FRAMES:
        place += max(8, int.from_bytes(start[place : place + 4], "big"))
    return kind == b"mdat"


class Film:
    """An open film; use it in a `with` block.

    Args:
        source: what is read.

    Raises:
        FilmError: it cannot be opened, or has no pictures.
    """

    def __init__(self, source: FilmSource) -> None:
        av = import_av()
        self._errors = (av.FFmpegError, OSError, ValueError)
        self._stalled = av.error.ExitError  # what PyAV raises after the timeout
        self.name, self._timeout = printable(source.name), source.timeout
        try:
            self._container: Any = av.open(
                source.file, format=source.format, options=dict(source.options),
                timeout=source.timeout, metadata_errors="replace",
            )  # fmt: skip
        except self._errors as error:
            raise self._error("it cannot be read as a film", error) from error
        if not self._container.streams.video:
            is_empty = not len(self._container.streams)
            self._container.close()
            if is_empty:  # such as an MP4 file whose end, where its index is, is missing
                raise FilmError(self.name, "it holds no film; it was cut off, or is being written")
            raise FilmError(self.name, "the file has no pictures, only sound or data")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        # values, because those of a closed film must not be asked for
        self.start = Fraction(self._container.start_time or 0, SECOND)  # its times begin here
        self.rate: Fraction = (  # frames per second
            self._stream.average_rate or self._stream.guessed_rate or DEFAULT_RATE
        )
        self.count = self._count()
        self._promised = self._length()
        self.is_finite = self.count is not None  # as a file; a camera has no end

    def __enter__(self) -> Film:
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()

    def _count(self) -> int | None:
        """Number of frames, about; None: unknown."""
        if self._stream.frames:
            return int(self._stream.frames)
        duration = self._container.duration
        return None if duration is None else round(duration / SECOND * self.rate)

    def _length(self) -> Fraction | None:
        """Length in seconds that the header states; None: it states none."""
        if self._container.format.name in WITHOUT_LENGTH and self._stream.frames:
            return int(self._stream.frames) / self.rate
        is_timed = self._container.start_time is not None  # else the length is a guess
        duration = self._container.duration if is_timed else None
        return None if duration is None else Fraction(duration, SECOND)

    def frames(self) -> Iterator[FilmFrame]:
        """Yield the frames in the order of their times; damaged ones are left out.

        Raises:
            FilmError: the film breaks off, or not all of its frames could be read.
        """
        count, damaged, seen = 0, 0, 0
        time, end = Fraction(-1) / self.rate, Fraction(0)
        packets, timeline = self._container.demux(), Timeline()
        holes = Holes(self._container.format.name, self.rate)
        while (packet := self._next_packet(packets, time)) is not None:
            end = max(end, self._end_of(packet))
            holes.add_packet(packet)
            seen += packet.stream_index == self._stream.index and packet.dts is not None
            is_repeat = packet.size == 0 and packet.dts is not None  # the frame before it stays
            if packet.stream_index != self._stream.index or is_repeat:
                continue
            try:
                decoded = packet.decode()
            except self._errors:
                damaged += packet.size > 0
                continue
            for frame in decoded:
                before, time = time, self._time_of(frame, time, timeline)
                if count:
                    holes.add_frame(time - before)
                count += 1
                yield FilmFrame(_upright_image(frame), time)
        if holes.found and self._container.format.name in WITHOUT_LENGTH:
            lacking, stated = self._stream.frames - seen, self._stream.frames
            holes.missing = lacking if lacking > max(1, MISCOUNT * stated) else 0
        self._require_all(count, max(damaged, holes.missing), end)

    def _next_packet(self, packets: Iterator[Any], time: Fraction) -> Any | None:
        try:
            return next(packets, None)
        except self._errors as error:
            seconds = max(0.0, float(time))
            raise self._error(f"the film breaks off at {seconds:.2f} s", error) from error

    def _end_of(self, packet: Any) -> Fraction:
        """Return the time up to which a packet of pictures or sound lasts."""
        shown = packet.dts if packet.pts is None else packet.pts
        if shown is None or packet.time_base is None:
            return Fraction(0)
        return Fraction((shown + (packet.duration or 0)) * packet.time_base) - self.start

    def _require_all(self, count: int, damaged: int, end: Fraction) -> None:
        """Raise FilmError if frames are missing at the end of the film."""
        if damaged:
            raise FilmError(
                self.name, f"{damaged} of {count + damaged} frames are damaged and left out",
                "the others are used",
            )  # fmt: skip
        if count == 0:
            raise FilmError(self.name, "the film has no frame that can be read")
        promised = self._promised
        if promised is None or end <= 0:
            return
        lacking = promised - end
        missing = min(lacking, abs(lacking - self.start))  # some headers count from zero
        if missing > max(Fraction(1), SHORT * promised):
            raise FilmError(
                self.name,
                f"the film ends at {float(end):.2f} s, but its header states "
                f"{float(promised):.2f} s; it was cut off", "copy or download it again",
            )  # fmt: skip

    def _time_of(self, frame: Any, before: Fraction, timeline: Timeline) -> Fraction:
        if frame.pts is None or frame.time_base is None:
            return before + 1 / self.rate
        return timeline.place(Fraction(frame.pts * frame.time_base - self.start), 1 / self.rate)

    def _error(self, what: str, error: Exception) -> FilmError:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(error, self._stalled) and self._timeout is not None:
            reason = f"no data for {self._timeout:g} s"
        return FilmError(self.name, f"{what} ({reason})")


def _upright_image(frame: Any) -> Pixels:
    pixels: Pixels = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4  # counterclockwise, as the camera was held
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
