"""Tables and numbers of the Markdown files that commands write."""

from collections.abc import Sequence


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def markdown_number(value: float | None, digits: int = 1) -> str:
    """Format a number; a dash if there is none."""
    return "-" if value is None else f"{value:.{digits}f}"
