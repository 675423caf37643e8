"""Atomic writing of files, the cache folder, and the suffixes of images."""

import json
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


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file that appears whole or not at all; text is written as UTF-8."""
    with open_atomic(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def write_json(path: Path, content: object, *, indent: int | None = None) -> None:
    """Write a JSON file that appears whole or not at all."""
    write_atomic(path, json.dumps(content, indent=indent, ensure_ascii=False) + "\n")


@contextmanager
def open_atomic(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Open a file for writing that appears when the block ends without an error.

    Until then the content is in a hidden file beside it; only a killed process leaves that behind.
    If several processes write the file, the last one wins; their content is never mixed.

    Args:
        durable: wait until the content and the name are on the disk, so that a power failure leaves
            the old file or the new one.
    """
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
