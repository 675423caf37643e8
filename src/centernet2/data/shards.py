"""Positions of images in tar shards, for random access.

Sampling, evaluation and resuming then work as with plain files.
"""

import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from centernet2.files import is_image_file, unicode_forms
from centernet2.images.storage import open_remote, remote_url

SHARD_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


class ShardMember(NamedTuple):
    """Position of a file in a tar shard."""

    shard: str  # path or URL
    start: int  # bytes
    size: int


def find_shards(place: str) -> list[str]:
    """List tar files: of a file, a range like 'shard-{000..127}.tar', or a folder.

    The list may be empty. HTTP has no folders: give a file or a range there.
    """
    match = SHARD_RANGE.search(place)
    if match is not None:
        first, last = match[1], match[2]
        numbers = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
        names = [SHARD_RANGE.sub(number, place, count=1) for number in numbers]
        return [shard for name in names for shard in find_shards(name)]
    url = remote_url(place)
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
    """Tar files of a folder; none if it also has images or folders."""
    entries = list(os.scandir(folder)) if folder.is_dir() else []
    if any(entry.is_dir() or is_image_file(entry.name) for entry in entries):
        return []
    return sorted(entry.path for entry in entries if entry.name.endswith(".tar"))


def list_members(shards: Sequence[str]) -> dict[str, ShardMember]:
    """List the files in tar shards, by name.

    Raises:
        ValueError: a shard cannot be read, or is compressed.
    """
    members: dict[str, ShardMember] = {}
    for shard in shards:
        try:
            with _open(shard) as file, tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    if member.isfile():
                        name = member.name.removeprefix("./")
                        members[name] = ShardMember(shard, member.offset_data, member.size)
                    # otherwise every header stays in memory
                    archive.members.clear()  # type: ignore[attr-defined]
        # ValueError: an HTTP server that does not send ranges
        except (tarfile.TarError, OSError, ValueError) as error:
            raise ValueError(
                f"{shard}: not a readable tar file ({error}); shards must be plain tar files, "
                "not compressed, and an HTTP server must support range requests"
            ) from error
    return members


def _open(path: str) -> BinaryIO:
    if remote_url(path) is None:
        return open(path, "rb")
    system, inner = open_remote(path)
    return cast(BinaryIO, system.open(inner, "rb", block_size=2**16))


def in_shards(names: Sequence[str], shards: Sequence[str]) -> Iterator[str]:
    """Locate each image in the shards by its full name, or else by its last part.

    A name that is in no shard is returned unchanged: reading it fails with its name.
    """
    members = list_members(shards)
    by_last_part: dict[str, list[str]] = {}
    for name in members:
        by_last_part.setdefault(name.rpartition("/")[2], []).append(name)
    missing = [name for name in names if not _candidates(name, members, by_last_part)]
    if len(missing) == len(names):
        raise ValueError(
            f"{shards[0]}: none of the images is in the {len(shards)} shards, "
            f"such as {missing[0]!r}"
        )
    for name in names:
        candidates = _candidates(name, members, by_last_part)
        if len(candidates) > 1:
            raise ValueError(
                f"{name!r} may be {' or '.join(candidates[:3])} in the shards; give the full name"
            )
        if not candidates:
            yield name
            continue
        shard, start, size = members[candidates[0]]
        yield f"{shard.rpartition('/')[2]}/{candidates[0]}@{start}+{size}"


def _candidates(
    name: str, members: dict[str, ShardMember], by_last_part: dict[str, list[str]]
) -> list[str]:
    for form in unicode_forms(name):
        found = [form] if form in members else by_last_part.get(form.rpartition("/")[2], [])
        if found:
            return found
    return []


def folder_of_shards(shards: Sequence[str]) -> str:
    """Return the folder that holds all the shards."""
    folders = {shard.rpartition("/")[0] for shard in shards}
    if len(folders) > 1:
        raise ValueError(
            f"the shards are in several folders ({', '.join(sorted(folders)[:3])}); "
            "put them into one"
        )
    return folders.pop() or "."
