"""The sound of a film, for another film with the same times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from centernet2.predict.films import SECOND, FilmError, FilmSource, Timeline, import_av

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}  # by number of channels
FRAME_SAMPLES = 1024  # of AAC
COPIED = ("aac", "mp3", "ac3", "eac3", "alac", "flac", "opus")  # codecs that MP4 holds
ENCODED = "aac"  # of the others
SWAPPED = "rm"  # container with another order of bytes


class FilmSound:
    """The audio streams of a film: packets are copied, or encoded anew for MP4."""

    def __init__(self, source: FilmSource) -> None:
        self._av = import_av()
        try:
            self._container = self._av.open(source.file, format=source.format)
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise FilmError(source.name, f"its sound cannot be read ({error})") from error
        self._start = Fraction(self._container.start_time or 0, SECOND)
        self._tracks: dict[int, _Track] = {}  # by the index of the stream
        self._packets = self._read()
        self._next: _Packet | None = None

    def add_to(self, container: Any) -> None:
        """Add the streams to a film that is written, before its first packet."""
        for stream in self._container.streams.audio:
            if stream.codec_context is None or not stream.codec_context.sample_rate:
                continue  # FFmpeg does not know what it is
            codec = stream.codec_context.codec.canonical_name
            if codec in COPIED and self._container.format.name != SWAPPED:
                written = container.add_stream_from_template(stream)
                self._tracks[stream.index] = _Track(written)
            else:
                written = container.add_stream(ENCODED, rate=stream.codec_context.sample_rate)
                written.layout = LAYOUTS.get(stream.codec_context.channels, LAYOUTS[2])
                self._tracks[stream.index] = _Track(written, self._resampler(written))

    def _resampler(self, written: Any) -> Any:
        context = written.codec_context
        return self._av.AudioResampler(
            format="fltp", layout=context.layout, rate=context.sample_rate, frame_size=FRAME_SAMPLES
        )

    def packets_until(self, time: Fraction | None) -> Iterator[Any]:
        """Yield the next packets up to a time in seconds; None: all of them."""
        while (each := self._next or next(self._packets, None)) is not None:
            self._next = each
            if time is not None and each.time > time:
                return
            self._next = None
            yield each.packet

    def _read(self) -> Iterator[_Packet]:
        if not self._tracks:
            return
        for packet in self._packets_read():
            track = self._tracks[packet.stream.index]
            if track.resampler is not None:
                yield from self._encode(packet, track, track.resampler)
            elif packet.dts is not None:  # else the end of the stream
                yield self._copy(packet, track)

    def _packets_read(self) -> Iterator[Any]:
        """Yield packets until the film ends or breaks off.

        A break is reported where its frames are read.
        """
        streams = [each for each in self._container.streams if each.index in self._tracks]
        try:
            yield from self._container.demux(*streams)
        except self._av.FFmpegError:
            return

    def _copy(self, packet: Any, track: _Track) -> _Packet:
        unit, length = packet.time_base, packet.duration or 0
        own = Fraction(packet.dts * unit) - self._start
        shift = round((track.timeline.place(own, length * unit) - own - self._start) / unit)
        shown = packet.dts if packet.pts is None else packet.pts
        packet.pts, packet.dts = shown + shift, packet.dts + shift
        time = Fraction(packet.pts * unit)
        packet.stream = track.written
        return _Packet(time, packet)

    def _encode(self, packet: Any, track: _Track, resampler: Any) -> Iterator[_Packet]:
        try:
            frames = packet.decode()
            resampled = [part for frame in frames for part in resampler.resample(frame)]
        except (self._av.FFmpegError, ValueError):  # a damaged part, or another form: silence
            return
        if frames and track.samples is None:  # the sound may begin after the pictures
            start = Fraction((frames[0].pts or 0) * frames[0].time_base) - self._start
            track.samples = round(start * track.written.codec_context.sample_rate)
        if packet.dts is None and packet.size == 0:  # the end of the stream
            resampled += [*resampler.resample(None), None]
        for part in resampled:
            if part is not None:
                part.pts, part.time_base = track.samples, Fraction(1, part.sample_rate)
                track.samples += part.samples
            for encoded in track.written.encode(part):
                yield _Packet(Fraction(encoded.pts * encoded.time_base), encoded)

    def close(self) -> None:
        """Close the film that the sound comes from."""
        self._container.close()


@dataclass
class _Track:
    written: Any  # stream of the film that is written
    resampler: Any | None = None  # None: packets are copied
    samples: int | None = None  # that are encoded; None: none yet
    timeline: Timeline = field(default_factory=Timeline)  # of packets that are copied


class _Packet(NamedTuple):
    time: Fraction  # from the start of the film
    packet: Any
