"""Options of the service in groups, of the command `serve` and of Ray Serve."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from centernet2.option_groups import ACCESS, QUEUE
from centernet2.ranges import above, at_least

if TYPE_CHECKING:
    from centernet2.serve.service import LabelStudio, ServiceOptions

    PathArgument: TypeAlias = str | os.PathLike[str]
else:  # a type to which cyclopts converts
    PathArgument = Path

SERVICE_RANGES = {
    "batch_size": at_least(1), "max_wait": at_least(0), "max_queue": at_least(1),
    "timeout": above(0), "max_megabytes": above(0), "max_megapixels": above(0),
}  # fmt: skip
TOKEN_VARIABLE = "CENTERNET2_TOKEN"
LABEL_STUDIO_VARIABLE = "LABEL_STUDIO_API_KEY"  # as its own SDK reads it
Words = Annotated[Sequence[str], Parameter(negative=())]


@Parameter(name="*", group=QUEUE)
@dataclass(frozen=True)
class QueueOptions:
    """How images are collected into batches, and how many may wait.

    Parameters
    ----------
    batch_size
        Images in a forward pass, at most.
    max_wait
        Seconds that an image waits for others while the device is free.
    max_queue
        Images that are accepted and not answered; more get the status 429.
    timeout
        Seconds for a request to arrive, again for its answer, and again until that is read.
    """

    batch_size: int = 8
    max_wait: float = 0.005
    max_queue: int = 64
    timeout: float = 30.0


@Parameter(name="*", group=ACCESS)
@dataclass(frozen=True)
class AccessOptions:
    """Who may ask, and what is accepted.

    Parameters
    ----------
    token_file
        File with a token that requests must have; default: $CENTERNET2_TOKEN, else none is needed.
    approved
        File with the SHA-256 of the weights that may be loaded, as sha256sum writes it.
    allow_host
        Hosts from which images are fetched where a request names an address, such as
        images.example.com or *.example.com; default: none. Private networks stay closed.
    camera
        Cameras that clients may name for videos, NAME=ADDRESS, such as door=rtsp://10.0.0.7/live.
    label_studio
        Address of the Label Studio whose tasks are predicted; its token is in
        $LABEL_STUDIO_API_KEY.
    max_megabytes
        Size of a request.
    max_megapixels
        Size of an image, all its frames together.
    """

    token_file: PathArgument | None = None
    approved: PathArgument | None = None
    allow_host: Words = ()
    camera: Words = ()
    label_studio: str | None = None
    max_megabytes: float = 20.0
    max_megapixels: float = 50.0


def require_service_packages() -> None:
    """Raise ValueError if the packages of the extra are missing."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"the service needs the package {error.name}; pip install 'centernet2[serve]'"
        ) from error


def to_service_options(queue: QueueOptions, access: AccessOptions) -> "ServiceOptions":
    """Return what the service takes; ValueError for a value that cannot be used."""
    from centernet2.serve.addresses import AddressRules
    from centernet2.serve.batching import BatchOptions
    from centernet2.serve.limits import Limits
    from centernet2.serve.service import ServiceOptions
    from centernet2.serve.video_jobs import VideoOptions

    limits = Limits(access.max_megabytes, access.max_megapixels, queue.max_queue, queue.timeout)
    return ServiceOptions(
        limits=limits,
        batches=BatchOptions(queue.batch_size, queue.max_wait),
        addresses=AddressRules(tuple(access.allow_host), limits.max_bytes),
        videos=VideoOptions(cameras=_parse_cameras(access.camera)),
        token=_read_token(access.token_file),
        label_studio=_parse_label_studio(access.label_studio),
    )


def _parse_label_studio(address: str | None) -> "LabelStudio | None":
    """Return the Label Studio at an address, with the token of the environment."""
    from urllib.parse import urlsplit

    from centernet2.serve.service import LabelStudio

    if address is None:
        return None
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"--label-studio is '{address}'; it takes an http or https address")
    key = os.environ.get(LABEL_STUDIO_VARIABLE)
    headers = {"Authorization": f"Token {key}"} if key else {}
    return LabelStudio(f"{parts.scheme}://{parts.netloc}", headers)


def _parse_cameras(words: Sequence[str]) -> dict[str, str]:
    """Return the address of each camera by its name."""
    cameras = {}
    for word in words:
        name, _, address = word.partition("=")
        if not name or "://" not in address:
            raise ValueError(
                f"--camera is '{word}'; it takes NAME=ADDRESS, such as door=rtsp://..."
            )
        cameras[name] = address
    return cameras


def _read_token(file: PathArgument | None) -> str | None:
    """Return the token of a file or of the environment; None: there is none."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    from centernet2.text_files import read_text_file

    token = read_text_file(Path(file)).strip()
    if not token:
        raise ValueError(f"{file}: the file of --token-file is empty; write the token into it")
    return token
