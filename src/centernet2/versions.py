"""Versions of installed packages."""

from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed under these names."""
    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):  # or of another distribution: onnxruntime-gpu
            found[name] = version(name)
    return found
