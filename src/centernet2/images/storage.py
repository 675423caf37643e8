"""Read the bytes of an image from a file, a tar shard or a URL.

One string locates an image in any of them, for indices, messages and workers alike:

    /data/images/1.jpg                         a file
    s3://bucket/images/1.jpg                   an object that fsspec reads, over HTTP too
    /data/shards/000.tar/1.jpg@1536+20480      20,480 bytes at 1,536 of a shard, local or remote
"""

import os
import re
import time
from pathlib import Path
from typing import Any, cast

from centernet2.files import printable

REMOTE = re.compile(r"([a-z][a-z0-9+]+):/+(?=[^/])")  # a Path keeps only one of the slashes
MEMBER = re.compile(r"(?P<shard>.+\.tar)/.+@(?P<start>\d+)\+(?P<size>\d+)", re.DOTALL)
PASSWORD = re.compile(r"^([a-z][a-z0-9+]+://[^/@:]*:)[^/]*@")
STALLED_SECONDS = 10.0  # without data, after which a read over HTTP is tried again
RETRY_PAUSES = (0.5, 1.0, 2.0)  # seconds before each retry of a remote read


def remote_url(path: Path | str) -> str | None:
    """Return the URL scheme://... in a path; None if the path is local."""
    match = REMOTE.search(str(path))
    if match is None or (match.start() and str(path)[match.start() - 1] != "/"):
        return None
    slashes = "///" if match[1] == "file" else "//"  # a file has no host
    return f"{match[1]}:{slashes}{str(path)[match.end() :]}"


def shown_name(path: Path | str) -> str:
    """Return a path or URL as text that UTF-8 can hold, without the password of a URL."""
    url = remote_url(path)
    return printable(path) if url is None else PASSWORD.sub(r"\g<1>***@", printable(url))


def read_bytes(path: Path | str) -> bytes:
    """Read the content of an image; a URL is tried several times.

    Raises:
        OSError: the content cannot be read.
    """
    text = remote_url(path) or os.path.expanduser(path)
    if "\0" in text:
        raise OSError(0, "the path contains a null character")
    member = MEMBER.fullmatch(text)
    if member is None:
        return Path(text).read_bytes() if remote_url(text) is None else _fetch(text)
    shard, start, size = member["shard"], int(member["start"]), int(member["size"])
    content = (
        _read_part(shard, start, size) if remote_url(shard) is None else _fetch(shard, start, size)
    )
    if len(content) != size:
        raise OSError(
            0,
            f"the shard ends at {start + len(content)} bytes; it has changed since it was indexed",
        )
    return content


def _read_part(path: str, start: int, size: int) -> bytes:
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        return file.read(size)


def _fetch(url: str, start: int | None = None, size: int = 0) -> bytes:
    end = None if start is None else start + size
    pauses = iter(RETRY_PAUSES)
    while True:
        try:
            system, path = open_remote(url)
        except ValueError as error:  # of a missing package, which no second try brings
            raise OSError(0, str(error)) from error
        try:
            return cast(bytes, system.cat_file(path, start=start, end=end))
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # each file system raises its own errors
            pause = next(pauses, None)
            if pause is None:
                tries = len(RETRY_PAUSES) + 1
                raise OSError(0, f"{type(error).__name__} {error}, after {tries} tries") from error
        time.sleep(pause)


def _limits(url: str) -> dict[str, Any]:
    """Return the arguments that end an attempt in time if an HTTP server stalls."""
    if not url.startswith(("http://", "https://")):
        return {}
    from aiohttp import ClientTimeout

    stalled = ClientTimeout(total=None, sock_connect=STALLED_SECONDS, sock_read=STALLED_SECONDS)
    return {"client_kwargs": {"timeout": stalled}}


def open_remote(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path on it."""
    try:
        import fsspec
    except ImportError as error:
        raise ValueError(
            f"{shown_name(url)}: images at a URL need fsspec; pip install 'centernet2[remote]'"
        ) from error
    try:
        return cast(tuple[Any, str], fsspec.core.url_to_fs(url, **_limits(url)))
    except (ImportError, ValueError) as error:  # no such scheme, or its package is missing
        raise ValueError(
            f"{shown_name(url)}: cannot be read ({error}); pip install 'centernet2[remote]' has "
            "http, s3, gs"
        ) from error
