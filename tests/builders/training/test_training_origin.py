"""What the card of a checkpoint says about the program that trained it."""

from pathlib import Path

import pytest

import centernet2
from centernet2.builders.training.training_origin import describe_versions


def test_digest_is_of_the_whole_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of any file may change a weight."""
    folders: list[Path] = []
    monkeypatch.setattr(Path, "rglob", lambda folder, pattern: folders.append(folder) or [])
    describe_versions()
    assert folders == [Path(centernet2.__file__).parent]
