"""Data that the tests of several jobs train on."""

from pathlib import Path

import pytest

from tests.helpers.training import write_blocks


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images with a bright block each."""
    return write_blocks(tmp_path_factory.mktemp("data"))
