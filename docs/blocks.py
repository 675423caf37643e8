"""Fenced code blocks of a page, and the reasons why some of them are not run by a test.

A comment on the line before a block keeps tests/snippets from running it:

    <!-- not run: needs eight cards -->
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

RUN = ("bash", "python", "yaml")  # languages that tests run; others, such as text, are shown only
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+) -->\n)?```(?P<language>.*)\n(?P<text>(?:.*\n)*?)```$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A code block.

    Args:
        line: of its first line of code, from 1.
        language: as the fence names it.
        text: code.
        reason: why no test runs it, or "".
    """

    line: int
    language: str
    text: str
    reason: str

    @property
    def is_code(self) -> bool:
        """Whether its language can be run; a reason may say why it is not."""
        return self.language in RUN


def read_blocks(page: Path) -> Iterator[Block]:
    """Yield the code blocks of a page in order."""
    text = page.read_text("utf-8")
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        yield Block(line, match["language"], match["text"], match["reason"] or "")


def count_rows(sources: Mapping[str, Path], run: str) -> Iterator[str]:
    """Yield the rows of a table of the reasons: each with its number of blocks, and their pages.

    Args:
        sources: files of the pages by name.
        run: what stands in place of a reason for the blocks that are run.
    """
    pages: dict[str, list[str]] = {run: []}  # by reason: a name for each block
    for name, path in sources.items():
        for block in read_blocks(path):
            if block.is_code:
                pages.setdefault(block.reason or run, []).append(name)
    for reason, names in sorted(pages.items(), key=lambda item: -len(item[1])):
        links = ", ".join(f"[{name}]({name}.md)" for name in dict.fromkeys(names))
        yield f"| {reason} | {len(names)} | {links} |"
