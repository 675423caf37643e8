"""The page of the Python API: signatures and docstrings as callers read them."""

import ast
import re
from typing import Annotated

import pytest

import centernet2
from centernet2.jobs import Flag, InferenceOptions
from centernet2.jobs.evaluate import evaluate
from docs.python_api import describe, describe_public_names


@pytest.fixture(scope="module")
def page() -> str:
    return describe_public_names()


def test_page_has_each_public_name_once(page: str) -> None:
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert headings[: len(centernet2.__all__)] == centernet2.__all__
    assert "TrainMode" in headings and "InferenceOptions" in headings
    assert len(set(headings)) == len(headings)


def test_code_of_the_page_is_python(page: str) -> None:
    """Except classes, whose bodies are fields alone, and results of properties."""
    blocks = re.findall(r"^```python\n(.+?)\n```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 50
    for block in blocks:
        assert "Annotated[" not in block and "Argument" not in block, block
        if block.startswith("from "):
            ast.parse(block)
        elif "(" in block.split(" -> ")[0] and not block.startswith("class "):
            ast.parse(f"def f{block[block.index('(') :]}: ...")


def test_function_with_options_of_the_command_line() -> None:
    heading, code, first, *rest = describe("evaluate", evaluate)
    assert heading == "## evaluate"
    assert "    data: str | os.PathLike[str] | None = None,\n" in code
    assert "    resume: bool = False,\n" in code
    assert first == "Evaluate a checkpoint or a COCO results file."
    assert "**Arguments**" in rest and "**Returns**" in rest
    (arguments,) = (part for part in rest if part.startswith("- "))
    assert "\n- `resume`: Continue an interrupted evaluation in the output folder." in arguments


def test_class_of_options() -> None:
    _, imported, code, *_ = describe("InferenceOptions", InferenceOptions)
    assert "from centernet2.jobs import InferenceOptions" in imported
    assert '    dtype: str = "fp32"\n    compile: bool = False\n' in code


class Drawn:
    """Draw a box.

    Args:
        box: float32 [4],
            in pixels.
        color, width: of the line.

    Raises:
        ValueError: for an empty box.
    """

    kept: Annotated[Flag, "of the command line"] = False  # comments stay

    def area(self, *, times: "int" = 1) -> "float":
        """Return the area."""
        return 4.0 * times

    def _private(self) -> None: ...


def test_class_with_a_method() -> None:
    *_, heading, code, text = parts = list(describe("Drawn", Drawn))
    assert parts[2] == "```python\nclass Drawn\n    kept: bool = False  # comments stay\n```"
    assert parts[4:8] == [
        "**Arguments**",
        "- `box`: float32 [4], in pixels.\n- `color, width`: of the line.",
        "**Raises**",
        "- `ValueError`: for an empty box.",
    ]
    assert (heading, text) == ("### `Drawn.area`", "Return the area.")
    assert code == "```python\nDrawn.area(*, times: int = 1) -> float\n```"
