"""Read the frames of films, cameras and streams with PyAV."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from fractions import Fraction
from types import ModuleType, TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from centernet2.files import printable

VIDEO_SUFFIXES = (  # in lower case; other names of films are recognized by their content
    ".3g2", ".3gp", ".asf", ".avi", ".f4v", ".flv", ".m1v", ".m2ts", ".m2v", ".m3u8", ".m4v",
    ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpd", ".mpeg", ".mpg", ".mts", ".mxf", ".ogg",
    ".ogv", ".rm", ".rmvb", ".swf", ".ts", ".vob", ".webm", ".wmv", ".y4m",
)  # fmt: skip
DEFAULT_RATE = Fraction(25)  # frames per second, of films that do not state it
SECOND = 1_000_000  # in the unit of a container's times
logger = logging.getLogger(__name__)


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

    image: Tensor  # uint8 [3, H, W] RGB, upright
    time: Fraction  # seconds from the start of the film


def import_av() -> ModuleType:
    """Import PyAV, which brings FFmpeg; an ImportError names the extra."""
    try:
        import av
    except ImportError as error:
        raise ValueError("films and streams need PyAV; pip install 'centernet2[video]'") from error
    module: ModuleType = av
    return module


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
        self.name = printable(source.name)
        try:
            self._container: Any = av.open(
                source.file, format=source.format, options=dict(source.options),
                timeout=source.timeout, metadata_errors="replace",
            )  # fmt: skip
        except self._errors as error:
            raise self._error("it cannot be read as a film", error) from error
        if not self._container.streams.video:
            self._container.close()
            raise FilmError(self.name, "the file has no pictures, only sound or data")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        # values, because those of a closed film must not be asked for
        self.start = Fraction(self._container.start_time or 0, SECOND)  # its times begin here
        self.rate: Fraction = (  # frames per second
            self._stream.average_rate or self._stream.guessed_rate or DEFAULT_RATE
        )
        self.count = self._count()
        self.is_finite = self.count is not None  # as a file; a camera has no end

    def __enter__(self) -> Film:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._container.close()

    def _count(self) -> int | None:
        """Number of frames, about; None: unknown."""
        if self._stream.frames:
            return int(self._stream.frames)
        duration = self._container.duration
        return None if duration is None else round(duration / SECOND * self.rate)

    def frames(self) -> Iterator[FilmFrame]:
        """Yield the frames in the order of their times; damaged ones are skipped and counted.

        Raises:
            FilmError: the film breaks off.
        """
        damaged, time = 0, Fraction(-1) / self.rate
        packets = self._container.demux(self._stream)
        while (packet := self._next_packet(packets, time)) is not None:
            if packet.size == 0 and packet.dts is not None:  # the frame before it is shown longer
                continue
            try:
                decoded = packet.decode()
            except self._errors:
                damaged += 1
                continue
            for frame in decoded:
                time = self._time_of(frame, time)
                yield FilmFrame(_upright_image(frame), time)
        if damaged:
            logger.warning("%s: %d damaged parts of the film are left out", self.name, damaged)

    def _next_packet(self, packets: Iterator[Any], time: Fraction) -> Any | None:
        try:
            return next(packets, None)
        except self._errors as error:
            seconds = max(0.0, float(time))
            raise self._error(f"the film breaks off at {seconds:.2f} s", error) from error

    def _time_of(self, frame: Any, before: Fraction) -> Fraction:
        if frame.pts is None or frame.time_base is None:
            return before + 1 / self.rate
        return Fraction(frame.pts * frame.time_base - self.start)

    def _error(self, what: str, error: Exception) -> FilmError:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return FilmError(self.name, f"{what} ({reason})")


def _upright_image(frame: Any) -> Tensor:  # uint8 [3, H, W]
    pixels: np.ndarray = frame.to_ndarray(format="rgb24")  # [H, W, 3]
    turns = round(frame.rotation / 90) % 4  # counterclockwise, as the camera was held
    if turns:
        pixels = np.ascontiguousarray(np.rot90(pixels, turns))
    return torch.from_numpy(pixels).permute(2, 0, 1)
