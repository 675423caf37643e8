"""All code blocks of each page, in order, as a reader would run them."""

from pathlib import Path

import pytest

from docs.blocks import read_blocks
from tests.helpers.page_folder import share_files, write_inputs_of_commands
from tests.helpers.page_runner import run_page
from tests.helpers.pages import ENGLISH

pytestmark = pytest.mark.long
NEEDED = {"prediction": "trackers", "scale": "ray", "export": "onnxscript", "serving": "fastapi"}
PAGES = [
    name
    for name, page in ENGLISH.items()
    if any(block.is_code and not block.reason for block in read_blocks(page))
]


@pytest.fixture(scope="module")
def prepared(page_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the blocks name."""
    folder = share_files(page_folder, tmp_path_factory.mktemp("prepared"))
    write_inputs_of_commands(folder)
    return folder


@pytest.mark.usefixtures("fork_server")
@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, prepared: Path, tmp_path: Path) -> None:
    if name in NEEDED:
        pytest.importorskip(NEEDED[name], reason=f"{name} needs {NEEDED[name]}")
    share_files(prepared, tmp_path)
    assert run_page(ENGLISH[name], tmp_path)
