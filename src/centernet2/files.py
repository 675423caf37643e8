"""Atomic writing of files, the cache folder, and the suffixes of images."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

CACHE_VARIABLE = "CENTERNET2_CACHE"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")  # lower case


def cache_folder() -> Path:
    """Folder of downloads and indices: $CENTERNET2_CACHE, or ~/.cache/centernet2."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/centernet2").expanduser()


def is_image_file(path: Path | str) -> bool:
    """Whether the name of a file has the suffix of an image."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def writable_folder(folder: Path, option: str) -> Path:
    """Return the folder that an option names; raise ValueError if it cannot be written.

    Check it before the work whose results it receives. It need not exist: writing creates it.
    """
    return _require_writable(folder, folder, option)


def writable_file(path: Path, option: str = "--output") -> Path:
    """Return the file that an option names; raise ValueError if it cannot be written."""
    if path.is_dir():
        raise ValueError(f"{option} {path} is a folder; give the path of a file")
    return _require_writable(path, path.parent, option)


def _require_writable(path: Path, folder: Path, option: str) -> Path:
    existing = next(each for each in (folder, *folder.absolute().parents) if os.path.exists(each))
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        reason = "cannot be written" if existing.is_dir() else "is not a folder"
        raise ValueError(f"{option} {path} cannot be used: {existing} {reason}; choose another one")
    return path


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file that appears whole or not at all; text is written as UTF-8."""
    with open_atomic(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def write_json(path: Path, content: object, *, indent: int | None = None) -> None:
    """Write a JSON file that appears whole or not at all."""
    import json  # not for --help, which imports this file

    write_atomic(path, json.dumps(content, indent=indent, ensure_ascii=False) + "\n")


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
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        _flush_folder(path.parent)


def temporary_path(path: Path) -> Path:
    """Path at which this process writes a file before it is renamed."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


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
