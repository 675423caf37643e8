"""Frames of cameras and streams: the newest one, with reconnection after a break."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction

from centernet2.images.storage import shown_name
from centernet2.predict.films import Film, FilmError, FilmFrame, FilmSource

STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "tcp", "udp", "mms")
GIVE_UP_SECONDS = 30.0  # without a frame
STALLED_SHARE = 1 / 3  # of that time without data: then the connection is made anew
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0  # seconds before connecting again; each is twice the last
CAMERAS = {  # device and format of FFmpeg, by platform
    "linux": ("/dev/video{number}", "v4l2"),
    "darwin": ("{number}", "avfoundation"),
    "win32": ("{number}", "vfwcap"),
}
logger = logging.getLogger(__name__)
OpenFilm = Callable[[FilmSource], Film]


def camera(number: int) -> FilmSource:
    """Return the camera with a number of this machine."""
    device, kind = CAMERAS.get(sys.platform, CAMERAS["linux"])
    return FilmSource(device.format(number=number), f"camera {number}", kind)


def stream(address: str) -> FilmSource:
    """Return a stream; RTSP runs over TCP, which loses no packets."""
    options = {"rtsp_transport": "tcp"} if address.startswith("rtsp") else {}
    return FilmSource(address, shown_name(address), options=options)


def live_frames(
    source: FilmSource, *, give_up: float = GIVE_UP_SECONDS, open_film: OpenFilm = Film
) -> Iterator[FilmFrame]:
    """Yield frames as they come, without late ones; times count from the first one.

    A break, or the end of the stream, is followed by waits of growing length between attempts to
    connect again. The size of the frames may change.

    Args:
        source: the stream.
        give_up: seconds without a frame after which the stream is over.
        open_film: opens the stream.

    Raises:
        FilmError: no frame has come for so long.
    """
    with _Receiver(source, give_up, open_film) as receiver:
        start: Fraction | None = None
        while (frame := receiver.next_frame()) is not None:
            start = frame.time if start is None else start
            yield frame._replace(time=frame.time - start)
        advice = "check the address" if source.format is None else "check that it is connected"
        raise FilmError(source.name, f"no frame for {give_up:g} s; {receiver.reason}", advice)


class _Receiver:
    """A thread that receives frames and keeps the newest: whoever is slow misses some.

    A stream that nobody reads would fill the memory of its sender, which then closes it.
    """

    def __init__(self, source: FilmSource, give_up: float, open_film: OpenFilm) -> None:
        self.reason = "no connection"
        self._source, self._give_up, self._open = source, give_up, open_film
        self._newest: FilmFrame | None = None
        self._failure: BaseException | None = None  # of the program
        self._is_over = False
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=source.name, daemon=True)

    def __enter__(self) -> "_Receiver":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self._thread.join(timeout=self._give_up)

    def next_frame(self) -> FilmFrame | None:
        """Return a frame newer than the last one, at its time on this machine's clock.

        None: the stream is over.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._is_over)
            if self._newest is None and self._failure is not None:
                raise self._failure
            frame, self._newest = self._newest, None
            return frame

    def _run(self) -> None:
        try:
            self._receive()
        except BaseException as error:  # raised again where frames are taken
            self._failure = error
        with self._changed:
            self._is_over = True
            self._changed.notify()

    def _receive(self) -> None:
        """Receive frames, connecting again and again, until none comes for too long."""
        last, wait = time.monotonic(), FIRST_WAIT
        while not self._closing.is_set() and (left := last + self._give_up - time.monotonic()) > 0:
            patience = min(left, STALLED_SHARE * self._give_up)
            try:
                with self._open(self._source._replace(timeout=patience)) as film:
                    for frame in film.frames():
                        if self._closing.is_set():
                            return
                        last, wait = time.monotonic(), FIRST_WAIT
                        self._put(frame._replace(time=_milliseconds(last)))
                self.reason = "it has ended"
            except FilmError as error:
                self.reason = error.reason
            left = max(0.0, last + self._give_up - time.monotonic())
            if left > wait and not self._closing.is_set():
                logger.warning("%s: %s; connecting again", self._source.name, self.reason)
            self._closing.wait(min(wait, left))
            wait = min(2 * wait, LONGEST_WAIT)

    def _put(self, frame: FilmFrame) -> None:
        with self._changed:
            self._newest = frame
            self._changed.notify()


def _milliseconds(seconds: float) -> Fraction:
    return Fraction(round(seconds * 1000), 1000)
