"""What the sessions of all runtimes share."""

import importlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from numpy.typing import NDArray

Arrays: TypeAlias = dict[str, NDArray[Any]]  # by name

METADATA_KEY = "centernet2"  # of a JSON object, in the metadata of a file


class Session(Protocol):
    """A file that is ready to run."""

    metadata: str | None  # under METADATA_KEY
    description: str  # the runtime with its version, and the device

    def run(self, images: NDArray[Any]) -> Arrays:
        """Return the outputs for a batch of images, by name."""


class Placement(NamedTuple):
    """The execution provider or device of each node of a file."""

    runtime: str  # with its version
    available: Sequence[str]  # providers or devices of this installation, preferred ones first
    operators: Mapping[str, Counter[str]]  # by provider, preferred first: nodes of each operator


def import_runtime(name: str, needed: str) -> Any:
    """Import a runtime; a ValueError says what pip has to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"{name} cannot be imported ({error}); install it: pip install {needed}"
        ) from error


def only_device(runtime: str, devices: Sequence[str], default: str) -> str:
    """Return the device of a runtime that takes one; ValueError for several."""
    if len(devices) > 1:
        names = ", ".join(devices)
        raise ValueError(f"{runtime} runs a file on one device; choose one of {names}")
    return devices[0] if devices else default
