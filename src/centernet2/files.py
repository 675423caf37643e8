"""Atomic writing, names and kinds of files, the cache folder, and image suffixes."""

import errno
import math
import os
import stat
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

CACHE_VARIABLE = "CENTERNET2_CACHE"
COMPILER_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, none of the user's quota, too large
PATH_ADVICE = "check the path and its permissions"
IMAGE_SUFFIXES = (  # of the formats that torchcodec or Pillow decodes, in lower case
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib",
    ".tif", ".tiff", ".gif", ".avif", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".tga",
    ".heic", ".heif", ".hif",
)  # fmt: skip


def cache_folder() -> Path:
    """Folder of downloads and indices: $CENTERNET2_CACHE, or ~/.cache/centernet2."""
    folder = os.environ.get(CACHE_VARIABLE) or "~/.cache/centernet2"
    return Path(os.path.expanduser(folder))  # a ~user who does not exist stays


def name_compiler_cache() -> None:
    """Name a folder for compiled programs where no temporary folder can be written.

    torchvision imports the compiler of PyTorch, which looks for its cache in the temporary folder:
    in a read-only container, the import would fail. Only compiling writes to the cache.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        os.environ.setdefault(COMPILER_CACHE_VARIABLE, os.path.abspath(os.sep))


def is_image_file(path: Path | str) -> bool:
    """Whether the name of a file has the suffix of an image."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def without_image_suffix(name: str) -> str:
    """Return the name of a file without the suffix of an image; other suffixes stay."""
    return os.path.splitext(name)[0] if is_image_file(name) else name


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, each folder once, even behind links to folders."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # links may form a circle
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(place, name) for name in names)


def irregular_kind(path: Path | str) -> str:
    """Name what a path is if not a regular file; empty if it is one or is missing.

    Reading from a pipe or a device may never end.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # whoever opens it says why
        return ""
    if stat.S_ISREG(mode):
        return ""
    return "a folder" if stat.S_ISDIR(mode) else "not a regular file"


def read_regular_file(path: Path) -> bytes:
    """Read a file of annotations; ValueError if it is a folder, a pipe or a device."""
    kind = irregular_kind(path)
    if kind:
        raise ValueError(f"{path}: is {kind}, where a file is needed; rename or remove it")
    return path.read_bytes()


def one_form(text: str) -> str:
    """Return a name in Unicode form NFC; macOS and Windows store accents differently."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def unicode_forms(text: str) -> list[str]:
    """List a name in the Unicode forms in which it may be stored, as it is first."""
    if text.isascii():
        return [text]
    return list(dict.fromkeys((text, *(unicodedata.normalize(f, text) for f in ("NFC", "NFD")))))


def stored_name(folder: Path, name: str) -> str:
    """Return a name in the Unicode form that exists below a folder, or else as it is."""
    if name.isascii():
        return name
    return next((form for form in unicode_forms(name) if os.path.exists(folder / form)), name)


def printable(name: Path | str) -> str:
    r"""Return a file name as text that UTF-8 can hold; other bytes become \xE9."""
    text = str(name)
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a surrogate pair, which Windows admits
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def describe_os_error(error: OSError) -> str | None:
    """Describe a file system error in one sentence; None: it is not about a file."""
    if error.errno is None:
        return str(error) if isinstance(error, FileNotFoundError) else None
    if error.filename is None and error.errno not in FULL:
        return None
    name = "a file" if error.filename is None else os.fsdecode(error.filename)
    advice = "free space or choose another place" if error.errno in FULL else PATH_ADVICE
    return f"{name} cannot be used ({(error.strerror or str(error)).lower()}); {advice}"


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file that appears whole or not at all; text is written as UTF-8."""
    with open_atomic(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def write_json(path: Path, content: object, *, indent: int | None = None) -> None:
    """Write a JSON file whole or not at all; NaN and infinity become null.

    With an indent, a list of numbers is one line: a matrix has a line for each row.
    """
    import re  # not for --help, which imports this file
    from json import dumps

    try:
        text = dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = dumps(_with_null(content), indent=indent, ensure_ascii=False, allow_nan=False)
    if indent is not None:  # a text has no line breaks, and lists of texts have quotes
        text = re.sub(r'\[\n([^][{}"]+)\]', lambda row: f"[{' '.join(row[1].split())}]", text)
    write_atomic(path, text + "\n")


def _with_null(value: object) -> object:
    """Copy a value with None in place of NaN and infinity."""
    if isinstance(value, dict):
        return {key: _with_null(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_with_null(each) for each in value]
    return finite_or_none(value) if isinstance(value, float) else value


def finite_or_none(value: float) -> float | None:
    """Return a number for JSON, which has neither NaN nor infinity."""
    return value if math.isfinite(value) else None


@contextmanager
def open_atomic(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Open a file for writing that appears when the block ends without an error.

    Until then the content is in a hidden file beside it; only a killed process leaves that behind.
    Missing folders above it are created. If several processes write the file, the last one wins;
    their content is never mixed.

    Args:
        durable: wait until the content and the name are on the disk, so that a power failure leaves
            the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        with temporary.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # a full disk has no name
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        _flush_folder(path.parent)


def temporary_path(path: Path) -> Path:
    """Return the path to write a file at before it is renamed; each call has its own."""
    return path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")


def remove_temporary(folder: Path, pattern: str) -> None:
    """Delete temporary files of killed processes, by a pattern of the final names."""
    for path in folder.glob(f".{pattern}.tmp"):
        path.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the system can open folders."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
