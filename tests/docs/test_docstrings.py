"""The first lines of docstrings are short."""

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "centernet2"
LONGEST = 80  # characters


def first_lines(tree: ast.Module) -> Iterator[str]:
    """Yield the first line of each docstring in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (ast.get_docstring(node) or "").splitlines()[:1]


def test_first_lines_are_short() -> None:
    lines = {
        f"{path.relative_to(SOURCE)}: {line}"
        for path in SOURCE.glob("**/*.py")
        for line in first_lines(ast.parse(path.read_text(encoding="utf-8")))
        if len(line) > LONGEST
    }
    assert not lines
