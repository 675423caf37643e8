"""Write films: each frame at its own time, with the sound of the source."""

from __future__ import annotations

import logging
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from centernet2.files import temporary_path
from centernet2.outputs import PICTURE_MARK
from centernet2.predict.film_sound import FilmSound
from centernet2.predict.films import FilmSource, import_av
from centernet2.spelling import counted
from centernet2.structures import Pixels

TICKS = 90_000  # per second, the unit of times; the periods of all usual rates are whole numbers
ENCODER = "libx264"
ADVICE = "write no pictures, as by --write json"
ENCODER_OPTIONS = {"crf": "20", "preset": "veryfast"}
logger = logging.getLogger(__name__)


def require_encoder() -> None:
    """Raise ValueError if PyAV cannot encode films."""
    try:
        import_av().Codec(ENCODER, "w")
    except ValueError as error:  # such as of the PyAV of some distributions
        raise ValueError(
            f"drawn films need PyAV with the encoder {ENCODER}, which its wheel has: pip install "
            f"--force-reinstall av; or {ADVICE}"
        ) from error


class FilmWriter:
    """An MP4 file that appears when it is closed.

    Leaving a `with` block by an error or an interruption keeps the frames before it.

    Args:
        path: without the suffix .mp4.
        rate: frames per second, which the encoder plans with; the times of frames are exact.
        sound_of: film whose sound is copied; None: no sound.
    """

    def __init__(self, path: Path, rate: Fraction, sound_of: FilmSource | None = None) -> None:
        require_encoder()
        self._av = import_av()
        self._sound = None if sound_of is None else FilmSound(sound_of)
        self.path = path.with_name(f"{path.name}.mp4")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = temporary_path(self.path)
        self._container: Any = self._av.open(str(self._temporary), "w", format="mp4")
        self._container.metadata["comment"] = PICTURE_MARK
        self._video = self._container.add_stream(ENCODER, rate=rate, options=ENCODER_OPTIONS)
        self._video.pix_fmt = "yuv420p"
        self._video.codec_context.time_base = Fraction(1, TICKS)
        if self._sound is not None:
            self._sound.add_to(self._container)
        self._last: int | None = None  # time of the last frame
        self._lost = 0  # packets of sound

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        self.close(whole=kind is None)

    def write(self, image: Pixels, time: Fraction) -> None:
        """Write a frame that is shown from a time in seconds on."""
        pixels = _even(image)
        frame = self._av.VideoFrame.from_ndarray(pixels, format="rgb24")
        if self._last is None:
            self._video.width, self._video.height = frame.width, frame.height
        ticks = round(time * TICKS)
        ticks = ticks if self._last is None else max(ticks, self._last + 1)
        frame.pts, frame.time_base = ticks, Fraction(1, TICKS)
        try:
            packets = self._video.encode(frame)
        except self._av.FFmpegError as error:  # such as of a side of more than 16,384 pixels
            raise ValueError(
                f"{self.path}: frames of {frame.width} x {frame.height} pixels cannot be encoded "
                f"by {ENCODER}; {ADVICE}"
            ) from error
        self._last = ticks
        self._container.mux(packets)
        self._write_sound(time)

    def _write_sound(self, time: Fraction | None) -> None:
        """Write the sound up to a time, None: all of it, without packets that MP4 refuses.

        A recording with losses has damaged ones, and times that run backwards.
        """
        errors = (self._av.error.InvalidDataError, self._av.error.ArgumentError)
        for packet in () if self._sound is None else self._sound.packets_until(time):
            try:
                self._container.mux_one(packet)
            except errors:
                self._lost += 1

    def close(self, *, whole: bool = True) -> None:
        """Finish the file.

        Args:
            whole: whether all frames are written; else the sound ends with the last of them.
        """
        try:
            if self._last is not None:
                self._container.mux(self._video.encode(None))
                if whole:
                    self._write_sound(None)
            self._container.close()
            if self._last is not None:
                os.replace(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)
            if self._sound is not None:
                self._sound.close()
        if self._lost:
            logger.warning(
                "%s lacks %s of sound, which are damaged in the film",
                self.path, counted(self._lost, "packet"),
            )  # fmt: skip


def _even(pixels: Pixels) -> Pixels:
    """Repeat the last row and column where the encoder needs an even number."""
    height, width = pixels.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return np.ascontiguousarray(pixels)
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
