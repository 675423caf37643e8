"""The cache of published weights: downloads, verified by their first SHA-256."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich import get_console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from centernet2.files import cache_folder, write_atomic
from centernet2.zoo.published import ZOO_PREFIX, ZooError, zoo_model

logger = logging.getLogger(__name__)

DETECTRON2 = "detectron2://"
DETECTRON2_URL = "https://dl.fbaipublicfiles.com/detectron2/"
RETRIES = 3  # of a broken connection, before the user is told


class DownloadError(ValueError):
    """A download failed, or gave another file than before."""


def zoo_file(name: str) -> Path:
    """Return the weights file of a published model, downloaded if needed.

    Raises:
        ZooError: an unknown model, or one whose weights were never released.
        DownloadError: no connection, or a file that is not the one of the first download.
    """
    model = zoo_model(name)
    if model.drive is None or model.page is None:
        raise ZooError(f"there are no weights of {model.name}: {model.note}")
    url = f"https://drive.google.com/uc?id={model.drive}"
    return fetch(model.cached_file, url, model.page)


def detectron2_file(address: str) -> Path:
    """Return the cached file of an address such as detectron2://.../R-50.pkl."""
    name = address.removeprefix(DETECTRON2)
    path = cache_folder() / name
    if not path.is_file():
        raise DownloadError(
            f"{address} is not downloaded: put the file {DETECTRON2_URL}{name} at {path}"
        )
    verify(path)
    return path


def is_address(source: str) -> bool:
    """Whether weights are given as an address of a cached file, rather than a path."""
    return source.startswith((ZOO_PREFIX, DETECTRON2))


def cached_file(source: str) -> Path:
    """Return the file of zoo:NAME, downloaded if needed, or of detectron2://..."""
    return zoo_file(source) if source.startswith(ZOO_PREFIX) else detectron2_file(source)


def fetch(path: Path, url: str, page: str) -> Path:
    """Return `path`, downloaded if missing; a person would download it from a page.

    One process at a time downloads, and resumes a partial file.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if path.is_file():
            verify(path)
            return path
        arriving = path.with_name(f"{path.name}.download")
        _download(arriving, path, url, page)
        digest, record = sha256(arriving), record_of(path)
        if recorded(path) not in (None, digest):
            arriving.unlink()
            raise DownloadError(
                f"{page} now holds another file than the one first downloaded "
                f"(SHA-256 {digest}, and {record} says {recorded(path)}); "
                f"delete {record} if you trust the new one"
            )
        _record(path, digest)
        os.replace(arriving, path)  # the file appears whole or not at all
        logger.info("downloaded to %s", path)
    return path


def verify(path: Path) -> None:
    """Refuse a file whose SHA-256 differs from its record; record a new file."""
    digest = sha256(path)
    if recorded(path) not in (None, digest):
        raise DownloadError(
            f"{path} has changed since its first use (SHA-256 {digest}, and {record_of(path)} "
            f"says {recorded(path)}); delete it to download it again, or delete the record if you "
            "trust it"
        )
    _record(path, digest)


def sha256(path: Path) -> str:
    """Compute the hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def record_of(path: Path) -> Path:
    """Return the path of the SHA-256 record, as `sha256sum --check` reads it."""
    return path.with_name(f"{path.name}.sha256")


def recorded(path: Path) -> str | None:
    """Read the SHA-256 of a file at its first use; None for a new file."""
    record = record_of(path)
    return (
        record.read_text(encoding="utf-8").partition(" ")[0].strip() if record.is_file() else None
    )


def _record(path: Path, digest: str) -> None:
    if recorded(path) is None:
        write_atomic(record_of(path), f"{digest}  {path.name}\n")


def _download(arriving: Path, path: Path, url: str, page: str) -> None:
    import gdown

    logger.info("downloading %s to %s", page, path)
    try:
        with _progress(path.name) as report:
            gdown.download(
                url,
                str(arriving),
                quiet=True,
                use_cookies=False,
                resume=True,
                retries=RETRIES,
                progress=report,
            )
    except (gdown.DownloadError, OSError) as error:  # all errors of a connection are OSErrors
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DownloadError(
            f"{path.name} could not be downloaded ({reason}); the next attempt resumes it, "
            f"or get {page} with a browser and put it at {path}"
        ) from None


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar; the function takes the bytes so far, and their total if it is known."""
    console = get_console()
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(
        TextColumn(name), *columns, console=console, disable=not console.is_interactive
    ) as progress:
        task = progress.add_task("download", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
