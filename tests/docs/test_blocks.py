"""The code blocks of the pages: their languages, and which of them no test runs."""

import ast
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from centernet2.cli import app
from docs.blocks import RUN, read_blocks
from docs.build_site import ROOT
from tests.helpers.pages import CHINESE, ENGLISH, FENCE, PAGES, TRANSLATED

SHOWN = ("bibtex", "dockerfile", "text")  # languages of blocks that nothing runs


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_name_their_language(page: Path) -> None:
    blocks = list(read_blocks(page))
    assert len(blocks) == len(FENCE.findall(page.read_text("utf-8")))
    assert {block.language for block in blocks} <= {*RUN, *SHOWN}


def test_marker_belongs_to_the_next_block(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n<!-- not run: needs b -->\n```bash\nc\n```\n\n```python\nd\n\ne\n```\n")
    first, second = read_blocks(page)
    assert (first.reason, first.line, first.text) == ("needs b", 4, "c\n")
    assert (second.reason, second.line, second.text) == ("", 8, "d\n\ne\n")


@pytest.mark.parametrize("page", sorted(ENGLISH.values()), ids=lambda page: page.name)
def test_code_can_be_parsed(page: Path) -> None:
    """Also of blocks that are not run; commands have known options."""
    for block in read_blocks(page):
        if block.language == "python":
            ast.parse(block.text)
        if block.language == "bash":
            subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
            for words in commands_of(block.text):
                _, given, _ = app.parse_args(words, exit_on_error=False, print_error=False)
                assert not [each for each in given.args if str(each).startswith("--")], words


def commands_of(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of this package, where the shell does not compute them."""
    for line in text.replace("\\\n", " ").splitlines():
        if "centernet2 " in line and "$" not in line:
            words = shlex.split(line, comments=True)
            if "centernet2" in words[:-1]:
                yield words[words.index("centernet2") + 1 :]


@pytest.mark.parametrize("name", [name for name in TRANSLATED if ENGLISH[name].suffix == ".md"])
def test_both_languages_leave_out_the_same_blocks(name: str) -> None:
    first, second = (
        [(block.language, bool(block.reason)) for block in read_blocks(pages[name])]
        for pages in (ENGLISH, CHINESE)
    )
    assert first == second


def test_every_marker_stands_before_a_block() -> None:
    for page in PAGES:
        marked = sum(bool(block.reason) for block in read_blocks(page))
        assert marked == FENCE.sub("", page.read_text("utf-8")).count("<!-- not run:"), page


def test_blocks_that_are_not_run_are_counted() -> None:
    """Print the counts, which `make docs` shows on a page."""
    reasons = Counter(
        block.reason for page in ENGLISH.values() for block in read_blocks(page) if block.is_code
    )
    run = reasons.pop("", 0)
    print(f"{run} blocks are run; not run:", *(f"{n} {why}" for why, n in reasons.most_common()))
    assert run > sum(reasons.values())
