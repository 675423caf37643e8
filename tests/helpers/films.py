"""Small films of gray frames, whose brightness is their number, with a tone."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SIZE = (48, 64)  # height, width
STEP = 8  # of brightness from a frame to the next


def require_av() -> Any:
    """Return PyAV, or skip the test."""
    return pytest.importorskip("av", reason="films need PyAV, the extra [video]")


def write_film(
    path: Path,
    count: int = 12,
    *,
    rate: Fraction | int = 25,
    size: tuple[int, int] = SIZE,
    codec: str = "libx264",
    sound: str | None = None,
    times: list[Fraction] | None = None,
) -> Path:
    """Write a film; return its path.

    Args:
        rate: frames per second.
        sound: codec of a tone as long as the film.
        times: of the frames, in seconds; default: by the rate.
    """
    av = require_av()
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=rate)
        video.height, video.width = size
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        tick = 1 / Fraction(rate) if times is None else Fraction(1, 90_000)
        video.codec_context.time_base = tick
        audio = container.add_stream(sound, rate=48_000, layout="mono") if sound else None
        for index in range(count):
            pixels = np.full((*size, 3), brightness(index), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = index if times is None else round(times[index] / tick)
            frame.time_base = tick
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            _write_tone(av, container, audio, seconds=count / float(rate))
    return path


def _write_tone(av: Any, container: Any, audio: Any, *, seconds: float) -> None:
    wave = np.sin(np.arange(round(seconds * 48_000)) * 2 * np.pi * 440 / 48_000)
    frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
    fifo, context = av.AudioFifo(), audio.codec_context
    resampler = av.AudioResampler(format=context.format or "fltp", layout="mono", rate=48_000)
    for part in resampler.resample(frame):
        fifo.write(part)
    while (part := fifo.read(960, partial=True)) is not None:
        container.mux(audio.encode(part))
    container.mux(audio.encode(None))


def brightness(index: int) -> int:
    """Gray value of a frame by its number."""
    return 16 + STEP * (index % 28)


def sound_of(path: Path) -> list[tuple[str, float]]:
    """Return codec and length in seconds of each audio stream, by its packets."""
    with require_av().open(str(path)) as container:
        streams = list(container.streams.audio)
        lengths = dict.fromkeys((each.index for each in streams), 0.0)
        for packet in container.demux(*streams) if streams else ():
            if packet.size:
                lengths[packet.stream.index] += float(packet.duration * packet.time_base)
        return [(s.codec_context.codec.canonical_name, lengths[s.index]) for s in streams]
