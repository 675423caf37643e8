"""Read the images of sources: files, films, streams, the standard input."""

import logging
import os
import shutil
import sys
import urllib.request
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from centernet2.images.image_files import read_image
from centernet2.images.storage import open_remote, remote_url, shown_name
from centernet2.predict.films import Film, FilmFrame, FilmSource, index_is_last
from centernet2.predict.image_sources import ColorOrder, NamedImage, named_image, several_images
from centernet2.predict.live_streams import GIVE_UP_SECONDS, camera, live_frames, stream
from centernet2.predict.sources import (
    HTTP,
    SIGNATURE_BYTES,
    Source,
    SourceKind,
    find_sources,
    is_image_content,
)
from centernet2.structures import Pixels

STDIN_NAME = "the standard input"
MEDIA_TYPES = {  # by their beginning; others are images
    "multipart/x-mixed-replace": SourceKind.STREAM,  # Motion JPEG of a camera
    "video/": SourceKind.FILM,
    "application/vnd.apple.mpegurl": SourceKind.FILM,
    "application/x-mpegurl": SourceKind.FILM,
    "application/dash+xml": SourceKind.FILM,
}
NAMES = (str, os.PathLike, Source)  # types of what `find_sources` and `read_sources` take
PROBE_SECONDS = 10  # that the kind of an address may take
OnError: TypeAlias = Callable[[Path, Exception], None]
# an error that is thrown into it is reported, and ends the source of the last image
NamedImages: TypeAlias = Generator[NamedImage, None, None]
logger = logging.getLogger(__name__)


class FailureList:
    """The sources that cannot be read, or not to their end."""

    def __init__(self) -> None:
        self.failed: list[tuple[Path, Exception]] = []

    def add_failure(self, path: Path, error: Exception) -> None:
        """Log and count a source; this is an `OnError`."""
        self.failed.append((path, error))
        logger.error("%s", error)


def open_images(
    source: Any, color: ColorOrder, on_error: OnError, give_up: float, max_pixels: int | None
) -> NamedImages:
    """Return the images of sources, those by name and those in memory.

    The arguments are those of `Predictor.stream` and of `as_image`.

    Raises:
        FileNotFoundError: an element of a list names nothing.
    """
    several = [source] if isinstance(source, Source) else several_images(source)
    given = [source] if several is None else several
    if isinstance(given, Sequence) and all(map(_is_name, given)):
        return _read_named(given, on_error, give_up, max_pixels)
    return _open_each(given, color, on_error, give_up, max_pixels)


def _open_each(
    sources: Iterable[Any],
    color: ColorOrder,
    on_error: OnError,
    give_up: float,
    max_pixels: int | None,
) -> NamedImages:
    for each in sources:
        if _is_name(each):
            yield from _read_named([each], on_error, give_up, max_pixels)
        else:
            yield named_image(each, color=color, max_pixels=max_pixels)


def _is_name(source: Any) -> bool:
    return isinstance(source, NAMES) or (isinstance(source, int) and not isinstance(source, bool))


def _read_named(
    names: Sequence[Any], on_error: OnError, give_up: float, max_pixels: int | None
) -> NamedImages:
    is_found = all(isinstance(each, Source) for each in names)
    sources = names if is_found else find_sources(names)
    return read_sources(sources, on_error, give_up=give_up, max_pixels=max_pixels)


def read_sources(
    sources: Iterable[Source],
    on_error: OnError,
    *,
    give_up: float = GIVE_UP_SECONDS,
    max_pixels: int | None = None,
) -> NamedImages:
    """Yield the images and frames of sources, one at a time.

    Args:
        on_error: called for each source that cannot be read, or not to its end; it is left there.
        give_up: seconds without a frame after which a stream is over.
        max_pixels: that an image file may have; None: Pillow's limit.
    """
    noticed: list[str] = []

    def notice(sentence: str) -> None:
        """Log the first one: others of a folder are alike."""
        if not noticed:
            logger.warning("%s (further images are not named)", sentence)
            noticed.append(sentence)

    read = partial(read_image, max_pixels=max_pixels, notice=notice)
    for source in sources:
        try:
            yield from _read(source, give_up, read)
        except (ValueError, OSError) as error:
            on_error(Path(shown_name(source.path)), error)


def _read(source: Source, give_up: float, read: Callable[..., Pixels]) -> Iterator[NamedImage]:
    place, kind = source
    path, url = Path(shown_name(place)), remote_url(place)
    if kind is SourceKind.ADDRESS:
        kind = _kind_at(url or "", min(PROBE_SECONDS, give_up))
    if kind is SourceKind.STDIN:
        yield from _read_stdin(read)
    elif kind is SourceKind.IMAGE:
        yield NamedImage(read(place), path)
    elif kind is SourceKind.STREAM:
        opened = camera(int(path.name.split()[1])) if url is None else stream(url)
        yield from _number(live_frames(opened, give_up=give_up), path)
    else:
        yield from _read_film(place, give_up)


def _read_film(place: Path | str, give_up: float) -> Iterator[NamedImage]:
    opened, path = film_source(place, give_up), Path(shown_name(place))
    with nullcontext() if isinstance(opened.file, str) else opened.file, Film(opened) as film:
        if film.is_finite or not isinstance(opened.file, str) or path.is_file():
            yield from _number(film.frames(), path)
            return
    yield from _number(live_frames(opened, give_up=give_up), path)


def film_source(path: Path | str, timeout: float = GIVE_UP_SECONDS) -> FilmSource:
    """Return the film at a path or an address of any file system.

    Args:
        timeout: seconds without data after which reading an address over HTTP fails.
    """
    url = remote_url(path)
    if url is None:  # a name such as a:b.mp4 would be an address for FFmpeg
        return FilmSource(os.path.abspath(path), str(path))
    if urlsplit(url).scheme in HTTP:
        return FilmSource(url, shown_name(url), timeout=timeout)
    system, name = open_remote(url)
    return FilmSource(system.open(name, "rb"), shown_name(url))


def _read_stdin(read: Callable[..., Pixels]) -> Iterator[NamedImage]:
    if sys.stdin is None or sys.stdin.isatty():
        raise ValueError("- is the standard input; send an image or a film to it: ... < photo.jpg")
    buffer: Any = sys.stdin.buffer
    path = Path("stdin")  # the files of its results are named after it
    if not buffer.peek(1):
        raise ValueError(f"{STDIN_NAME} is empty; has the program before it failed?")
    if is_image_content(buffer.peek(SIGNATURE_BYTES)):
        yield NamedImage(read(buffer.read(), name=STDIN_NAME), path)
        return
    with _readable_film(buffer) as file, Film(FilmSource(file, STDIN_NAME)) as film:
        yield from _number(film.frames(), path)


@contextmanager
def _readable_film(buffer: Any) -> Iterator[Any]:
    """Yield a film on the standard input, or its copy in a file if its index is last."""
    if buffer.seekable() or not index_is_last(buffer.peek(1)):
        yield buffer
        return
    with TemporaryFile() as stored:
        shutil.copyfileobj(buffer, stored)
        stored.seek(0)
        yield stored


def _number(frames: Iterable[FilmFrame], path: Path) -> Iterator[NamedImage]:
    for index, (image, time) in enumerate(frames):
        yield NamedImage(image, path, index, float(time))


def _kind_at(url: str, timeout: float) -> SourceKind:
    """Return what an HTTP address answers with, by the media type."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            media: str = answer.headers.get("Content-Type", "").lower()
    except (OSError, ValueError, HTTPException) as error:
        if isinstance(getattr(error, "reason", error), TimeoutError):
            reason = f"no answer within {timeout:g} s; check the address"
            raise ValueError(f"{shown_name(url)}: {reason}") from error
        return SourceKind.IMAGE  # reading it as an image reports the error
    return next(
        (kind for start, kind in MEDIA_TYPES.items() if media.startswith(start)), SourceKind.IMAGE
    )
