"""Bytes of images, wherever they lie: in a file, in a tar shard, or at an address that fsspec knows.

One line of text says where an image is, so indices, messages and worker processes need not tell the places apart:

    /data/images/1.jpg                                    a file
    s3://bucket/images/1.jpg                              an object that fsspec reads, over HTTP too
    /data/shards/000.tar/1.jpg@1536+20480                 20,480 bytes at 1,536 of a shard, which may be remote too

Members of shards are read at random by their place, so order, evaluation and resume are those of plain files.
"""

import os
import re
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from centernet2.files import is_image_file

REMOTE = re.compile(r"([a-z][a-z0-9+]+):/+(?=[^/])")  # a Path holds one of the slashes
MEMBER = re.compile(r"(?P<shard>.+\.tar)/.+@(?P<start>\d+)\+(?P<size>\d+)", re.DOTALL)
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
TRIES = 4
FIRST_PAUSE = 0.5  # seconds before the second try; then twice as long each time


class Place(NamedTuple):
    """Where a member of a tar shard lies."""

    shard: str  # name of the shard, with its folder
    start: int
    size: int


def address(path: Path | str) -> str | None:
    """The address scheme://... that a path stands for; None where it is a path of this machine."""
    found = REMOTE.search(str(path))
    if found is None or (found.start() and str(path)[found.start() - 1] != "/"):
        return None
    return f"{found[1]}://{str(path)[found.end() :]}"


def read_bytes(path: Path | str) -> bytes:
    """The content of an image. OSError where it cannot be read; an address is tried several times."""
    text = address(path) or str(path)
    member = MEMBER.fullmatch(text)
    if member is None:
        return Path(text).read_bytes() if address(text) is None else _fetch(text)
    shard, start, size = member["shard"], int(member["start"]), int(member["size"])
    content = (
        _read_part(shard, start, size) if address(shard) is None else _fetch(shard, start, size)
    )
    if len(content) != size:
        raise OSError(
            0, f"the shard ends at {start + len(content)} bytes; it is not the one that was indexed"
        )
    return content


def _read_part(path: str, start: int, size: int) -> bytes:
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        return file.read(size)


def _fetch(url: str, start: int | None = None, size: int = 0) -> bytes:
    end = None if start is None else start + size
    for attempt in range(TRIES):
        try:
            system, path = open_remote(url)
            return cast(bytes, system.cat_file(path, start=start, end=end))
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # each system has errors of its own
            if attempt == TRIES - 1:
                raise OSError(0, f"{type(error).__name__} {error}, after {TRIES} tries") from error
        time.sleep(FIRST_PAUSE * 2**attempt)
    raise AssertionError


def open_remote(url: str) -> tuple[Any, str]:
    """The file system of an address, and the path on it."""
    try:
        import fsspec
    except ImportError as error:
        raise ValueError(
            f"{url}: images at an address need fsspec; pip install 'centernet2[remote]'"
        ) from error
    try:
        return cast(tuple[Any, str], fsspec.core.url_to_fs(url))
    except (
        ImportError,
        ValueError,
    ) as error:  # the package of a scheme is not installed, or there is none
        raise ValueError(
            f"{url}: cannot be read ({error}); pip install 'centernet2[remote]' has http, s3, gs"
        ) from error


def find_shards(place: str) -> list[str]:
    """The tar files that a text stands for: one, several as 'shard-{000..127}.tar', or those of a folder; may be none.

    HTTP has no folders: name the shards.
    """
    found = RANGE.search(place)
    if found is not None:
        first, last = found[1], found[2]
        numbers = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
        return [
            shard for number in numbers for shard in find_shards(RANGE.sub(number, place, count=1))
        ]
    url = address(place)
    if place.endswith(".tar"):
        return [url or place]
    if url is None:
        return _shards_of_folder(Path(place))
    if url.startswith("http"):
        return []
    system, path = open_remote(url)
    return sorted(
        system.unstrip_protocol(name) for name in system.glob(f"{path.rstrip('/')}/*.tar")
    )


def _shards_of_folder(folder: Path) -> list[str]:
    """The tar files of a folder that holds no images and no folders beside them: it may hold both before unpacking."""
    entries = list(os.scandir(folder)) if folder.is_dir() else []
    if any(entry.is_dir() or is_image_file(entry.name) for entry in entries):
        return []
    return sorted(entry.path for entry in entries if entry.name.endswith(".tar"))


def members(shards: Sequence[str]) -> dict[str, Place]:
    """The files in tar shards by their names, and where their bytes lie.

    Raises:
        ValueError: a shard cannot be read, or is compressed.
    """
    found: dict[str, Place] = {}
    for shard in shards:
        try:
            with _open(shard) as file, tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    if member.isfile():
                        found[member.name.removeprefix("./")] = Place(
                            shard, member.offset_data, member.size
                        )
                    archive.members.clear()  # type: ignore[attr-defined]  # else every header stays in memory
        except (
            tarfile.TarError,
            OSError,
            ValueError,
        ) as error:  # fsspec's: a server that gives no parts of files
            advice = "shards must be plain tar files, not compressed, and a server must give parts of them"
            raise ValueError(f"{shard}: not a readable tar file ({error}); {advice}") from error
    return found


def _open(path: str) -> BinaryIO:
    if address(path) is None:
        return open(path, "rb")
    system, inner = open_remote(path)
    return cast(BinaryIO, system.open(inner, "rb", block_size=2**16))


def in_shards(names: Sequence[str], shards: Sequence[str]) -> Iterator[str]:
    """For each image of an annotation file its address in the shards, by its whole name, or else by its last part.

    A name that is in no shard stays as it is: reading it fails with its name.
    """
    places = members(shards)
    by_last_part: dict[str, list[str]] = {}
    for name in places:
        by_last_part.setdefault(name.rpartition("/")[2], []).append(name)
    missing = [name for name in names if not _candidates(name, places, by_last_part)]
    if len(missing) == len(names):
        raise ValueError(
            f"{shards[0]}: none of the images is in the {len(shards)} shards, such as {missing[0]!r}"
        )
    for name in names:
        candidates = _candidates(name, places, by_last_part)
        if len(candidates) > 1:
            raise ValueError(
                f"{name!r} may be {' or '.join(candidates[:3])} in the shards; give the whole name"
            )
        if not candidates:
            yield name
            continue
        shard, start, size = places[candidates[0]]
        yield f"{shard.rpartition('/')[2]}/{candidates[0]}@{start}+{size}"


def _candidates(
    name: str, places: dict[str, Place], by_last_part: dict[str, list[str]]
) -> list[str]:
    return [name] if name in places else by_last_part.get(name.rpartition("/")[2], [])


def folder_of(shards: Sequence[str]) -> str:
    """The folder that holds all the shards."""
    folders = {shard.rpartition("/")[0] for shard in shards}
    if len(folders) > 1:
        raise ValueError(
            f"the shards lie in several folders ({', '.join(sorted(folders)[:3])}); put them into one"
        )
    return folders.pop() or "."
