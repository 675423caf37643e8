"""Snippets of Python that take seconds, with a small untrained detector."""

from pathlib import Path

import pytest

from docs.build_site import ROOT
from tests.helpers.page_folder import share_files
from tests.helpers.page_runner import run_page

PAGES = ["README.md", "docs/explain.md", "docs/masks.md", "docs/tiling.md"]


@pytest.mark.parametrize("name", PAGES)
def test_snippets(name: str, page_folder: Path, tmp_path: Path) -> None:
    share_files(page_folder, tmp_path)
    assert run_page(ROOT / name, tmp_path, ["python"])
