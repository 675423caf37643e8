"""Keys of configs and source files that the pages name exist."""

import re
from pathlib import Path

import pytest

from centernet2.config.option import SKIPPED_KEYS
from centernet2.config.tree import SLOTS
from docs.build_site import ROOT
from tests.helpers.pages import PAGES

GROUPS = "MODEL|INPUT|DATASETS|DATALOADER|SOLVER|TEST"
KEY = re.compile(rf"(?<![\w.])(?:{GROUPS})(?:\.[A-Z][A-Z0-9_]*)+(?![\w*]|\.\w)")
UNDEFINED = {"DATALOADER.SOURCE_AWARE"}  # of a config of the reference, which never defines it
LAST_CELL = re.compile(r"\| ([^|]+) \|$", re.MULTILINE)
SOURCE = re.compile(r"`([\w*/]+\.py)`")
OF_SOURCES = ("migrating.md", "paper.md")  # their tables lead to source files


def named_keys(page: Path) -> set[str]:
    """Return the keys that a page names."""
    return set(KEY.findall(page.read_text("utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_keys_exist(page: Path) -> None:
    groups = {key.rpartition(".")[0] for key in SLOTS}
    unknown = named_keys(page) - SLOTS.keys() - groups - UNDEFINED
    assert not {key for key in unknown if not key.startswith(SKIPPED_KEYS)}


def test_enough_keys_are_named() -> None:
    assert len(set().union(*map(named_keys, PAGES))) > len(SLOTS) / 2


@pytest.mark.parametrize("name", OF_SOURCES)
def test_source_files_of_tables_exist(name: str) -> None:
    page = (ROOT / "docs" / name).read_text("utf-8")
    files = {file for cell in LAST_CELL.findall(page) for file in SOURCE.findall(cell)}
    assert files
    assert not {file for file in files if not [*(ROOT / "src").glob(f"**/{file}")]}
