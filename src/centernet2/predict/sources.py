"""What a command or caller names: images, films, cameras, streams, lists of them."""

import codecs
import glob
import logging
import os
import re
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

from PIL import Image

from centernet2.files import IMAGE_SUFFIXES, files_below, irregular_kind, is_image_file, printable
from centernet2.images.heif import is_heif
from centernet2.images.image_files import FAILURES, OTHER_KIND_BYTES, other_kind
from centernet2.images.storage import remote_url
from centernet2.outputs import is_own_picture
from centernet2.predict.films import VIDEO_SUFFIXES
from centernet2.predict.live_streams import STREAM_SCHEMES
from centernet2.spelling import counted
from centernet2.text_files import read_text_file

STDIN = "-"
LIST_SUFFIXES = (".txt", ".lst")  # of text files with a path, pattern or address in each line
ANIMATED_SUFFIXES = (".gif", ".apng")  # of images that may be films, too
HTTP = ("http", "https")
SIGNATURE_BYTES = 16  # by which Pillow knows a format
logger = logging.getLogger(__name__)
Word: TypeAlias = str | os.PathLike[str] | int


class SourceKind(Enum):
    """How a source is read."""

    IMAGE = "image"
    FILM = "film"
    STREAM = "stream"
    ADDRESS = "address"  # of one of them, which its answer tells
    STDIN = "stdin"  # an image or a film


class Source(NamedTuple):
    """An image, film or stream that is not read yet."""

    path: Path | str  # file, or a name; an address as it is given: a Path would drop slashes
    kind: SourceKind


def find_sources(words: Iterable[Word]) -> list[Source]:
    """Find images, films and streams by what names them, each once.

    Args:
        words: files, folders (with their subfolders), patterns, addresses, numbers of cameras, text
            files with a path in each line, and "-" for the standard input. In folders and patterns,
            pictures and films that this package has drawn are left out.

    Raises:
        FileNotFoundError: a word names nothing.
    """
    finder = _Finder(films=True)
    for word in words:
        finder.add(word)
    return finder.found()


def find_images(words: Iterable[Path | str]) -> list[Path]:
    """Find image files by path, folder (recursively), glob pattern or URL, each once.

    In folders and patterns, pictures that this package has drawn are left out.
    """
    if isinstance(words, str | os.PathLike):
        raise ValueError(f"the images are '{words}'; give a list: ['{words}']")
    finder = _Finder(films=False)
    for word in words:
        finder.add_files(word)
    return [Path(source.path) for source in finder.found()]


def nameable_images(
    paths: Iterable[Path], on_error: Callable[[Path, Exception], None]
) -> list[Source]:
    """Return the images whose names JSON, which is UTF-8, can hold; report the others."""
    found = []
    for path in paths:
        name = printable(path)
        if name == str(path):
            found.append(Source(path, SourceKind.IMAGE))
        else:
            reason = "the name is not UTF-8; rename the file to label it"
            on_error(path, ValueError(f"{name}: {reason}"))
    return found


class _Finder:
    """Collects sources; counts the drawn pictures that are left out."""

    def __init__(self, *, films: bool) -> None:
        self._films = films
        self._sources: dict[str, Source] = {}
        self._drawn = 0

    def found(self) -> list[Source]:
        if self._drawn:
            logger.info("left out: %s", _describe_drawn(self._drawn))
        return list(self._sources.values())

    def add(self, word: Word) -> None:
        text = os.path.expanduser(str(word))
        is_file = os.path.isfile(text)
        if text == STDIN:
            self._add(Path(STDIN), SourceKind.STDIN)
        elif text.isdecimal() and not os.path.exists(text):
            self._add(Path(f"camera {int(text)}"), SourceKind.STREAM)
        elif is_file and text.lower().endswith(LIST_SUFFIXES):
            self._add_list(Path(text))
        else:
            self.add_files(text)

    def add_files(self, word: Path | str) -> None:
        """Add what a path, a pattern or an address names."""
        word = os.path.expanduser(word)
        path = Path(word)
        if not str(word).strip():  # such as a variable of the shell that is not set
            raise FileNotFoundError(_describe_nothing(word, 0))
        if remote_url(word) is not None:
            self._add_address(word)
            return
        if path.is_file():
            if reason := _other_kind(path):
                raise FileNotFoundError(f"{printable(path)}: no image found; {reason}")
            self._add(path, self._kind_of(path))
            return
        candidates = (
            files_below(path) if path.is_dir() else map(Path, glob.glob(str(word), recursive=True))
        )
        wanted = sorted(each for each in candidates if self._is_wanted(each))
        chosen = [each for each in wanted if not is_own_picture(each)]
        if not chosen:
            raise FileNotFoundError(_describe_nothing(word, len(wanted)))
        self._drawn += len(wanted) - len(chosen)
        for each in chosen:
            self._add(each, self._kind_of(each))

    def _add_list(self, path: Path) -> None:
        """Add the lines of a text file; missing files are noticed when they are read."""
        lines = [line.strip() for line in read_text_file(path).split("\n")]
        named = [line for line in lines if line and not line.startswith("#")]
        if not named:
            raise FileNotFoundError(f"{path}: no image found; the list has no line with a path")
        for line in named:
            if remote_url(line) is not None:
                self._add_address(line)
                continue
            file = Path(os.path.expanduser(line))
            if not file.exists() and not file.is_absolute():
                beside = path.parent / line
                file = beside if beside.exists() else file
            if file.is_dir() or (glob.has_magic(line) and not file.exists()):
                self.add_files(file)
            else:
                self._add(file, self._kind_of(file))

    def _add(self, path: Path, kind: SourceKind) -> None:
        self._sources.setdefault(os.path.abspath(path), Source(path, kind))

    def _add_address(self, word: Path | str) -> None:
        url = remote_url(word) or ""
        kind = _kind_of_address(url) if self._films else SourceKind.IMAGE
        self._sources.setdefault(url, Source(url, kind))

    def _is_wanted(self, path: Path) -> bool:
        # "._" begins the files in which macOS keeps metadata on foreign disks
        is_kind = is_image_file(path) or (self._films and _is_film_name(str(path)))
        return is_kind and not path.name.startswith("._") and path.is_file()

    def _kind_of(self, path: Path) -> SourceKind:
        if not self._films:
            return SourceKind.IMAGE
        name = str(path)
        if is_image_file(name):
            is_film = _is_animated(path)
        else:
            is_film = _is_film_name(name) or _is_other_content(path)
        return SourceKind.FILM if is_film else SourceKind.IMAGE


def _other_kind(path: Path) -> str:
    """Say what a file is if it is neither image nor film; "": it may be one."""
    if is_image_file(path) or _is_film_name(str(path)):
        return ""  # reading it reports the error
    try:
        with path.open("rb") as file:
            return other_kind(file.read(OTHER_KIND_BYTES))
    except OSError:  # reading it reports the error
        return ""


def _kind_of_address(url: str) -> SourceKind:
    scheme = urlsplit(url).scheme
    name = re.split("[?#]", url)[0]
    if scheme in STREAM_SCHEMES:
        return SourceKind.STREAM
    if _is_film_name(name):
        return SourceKind.FILM
    return SourceKind.IMAGE if is_image_file(name) or scheme not in HTTP else SourceKind.ADDRESS


def _is_film_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def _is_animated(path: Path) -> bool:
    """Whether a file is an animation in a format of images."""
    if path.suffix.lower() not in ANIMATED_SUFFIXES:
        return False
    try:
        with Image.open(path) as image:
            return bool(getattr(image, "is_animated", False))
    except FAILURES:  # reading it reports the error
        return False


def _is_other_content(path: Path) -> bool:
    """Whether a file exists and starts as neither image nor text; it may be a film."""
    try:
        with path.open("rb") as file:
            start = file.read(SIGNATURE_BYTES)
    except OSError:  # reading it reports the error
        return False
    return not _is_text(start) and not is_image_content(start)


def _is_text(start: bytes) -> bool:
    """Whether a file that begins so may be text, such as JSON, which no film is."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return b"\0" not in start


def is_image_content(start: bytes) -> bool:
    """Whether the first bytes of a file are those of an image format."""
    if is_heif(start):  # FFmpeg would read one tile of a photograph as a film
        return True
    Image.init()
    kinds = {Image.EXTENSION.get(suffix) for suffix in IMAGE_SUFFIXES}
    tests = [Image.OPEN[kind][1] for kind in kinds if kind in Image.OPEN]
    signature = start[:SIGNATURE_BYTES].ljust(SIGNATURE_BYTES, b"\0")  # the tests read so many
    return any(test(signature) is True for test in tests if test is not None)


def _describe_drawn(count: int) -> str:
    return f"{counted(count, 'picture')} that centernet2 has drawn"


def _describe_nothing(source: Path | str, drawn: int) -> str:
    path = Path(source)
    if not str(source).strip():
        return "no image found: an empty name is given; is a variable of the shell not set?"
    if drawn:
        reason = f"it has only {_describe_drawn(drawn)}; name files to use them"
    elif path.is_dir():
        reason = f"the folder has no file that ends in {', '.join(IMAGE_SUFFIXES)}"
    elif irregular_kind(path):
        reason = f"it is {irregular_kind(path)}"
    elif any(mark in str(source) for mark in "*?["):
        reason = "the pattern matches no image file"
    else:
        reason = "there is no such file or folder"
    return f"{printable(source)}: no image found; {reason}"
