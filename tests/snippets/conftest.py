"""A folder with what the snippets name, which several test files share."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.build_site import ROOT
from tests.helpers.page_folder import write_page_folder


@pytest.fixture(scope="session")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, data and a detector."""
    return write_page_folder(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The process that runs the commands of the pages; $FORK_SERVER names its socket."""
    path = tmp_path_factory.mktemp("server") / "socket"
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    command = [sys.executable, "-m", "tests.helpers.fork_server", str(path)]
    server = subprocess.Popen(command, env=environment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORK_SERVER", str(path))
        yield
    server.terminate()
    server.wait()
