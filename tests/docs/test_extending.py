"""The examples of docs/extending.md: a backbone, a data layout and a command."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from centernet2.builders.detector.network import NETWORKS
from centernet2.commands import Command
from centernet2.models.backbones import BACKBONES
from docs.blocks import read_blocks
from docs.build_site import ROOT
from tests.helpers.data import make_content, write_dataset

BLOCKS = list(read_blocks(ROOT / "docs/extending.md"))
EXAMPLES = [block.text for block in BLOCKS if block.language == "python"]


def run_example(word: str) -> dict[str, Any]:
    """Run the example that contains a word; return its names."""
    (text,) = (each for each in EXAMPLES if word in each)
    names: dict[str, Any] = {}
    exec(text, names)
    return names


def test_backbone_of_a_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "plain", None)  # the tables are as they were after the test
    monkeypatch.setitem(NETWORKS, "build_plain_fpn_backbone", None)
    names = run_example("class Plain")
    assert names["detections"]["boxes"].shape[1] == 4
    assert type(names["build_model"](names["config"]).backbone).__name__ == "Plain"
    assert len([line for line in EXAMPLES[0].splitlines() if line.strip()]) <= 30


def test_layout_as_records_of_coco(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a.jpg,20,10,cat,1,2,5,4\na.jpg,20,10,dog,0,0,4,4\nb.jpg,8,8,cat,0,0,2,2\n")
    content = run_example("read_table")["read_table"](table)
    assert [image["file_name"] for image in content["images"]] == ["a.jpg", "b.jpg"]
    first, second, third = content["annotations"]
    assert (first["bbox"], first["area"]) == ([1, 2, 4, 2], 8)
    assert [each["image_id"] for each in (first, second, third)] == [1, 1, 2]
    assert [each["name"] for each in content["categories"]] == ["cat", "dog"]


def test_command_and_its_row(tmp_path: Path) -> None:
    write_dataset(tmp_path, make_content())
    count = run_example("def count")["count"]
    lines = count(tmp_path)
    assert len(lines) == 1 and re.fullmatch(r"\w+: [1-9]\d* images, [1-9]\d* objects", lines[0])
    (row,) = (block.text for block in BLOCKS if "Command(" in block.text)
    call = ast.parse(f"{{{row}}}", mode="eval").body
    assert isinstance(call, ast.Dict) and isinstance(call.values[0], ast.Call)
    (example,) = (ast.literal_eval(each) for each in call.values[0].args)
    assert Command(example).example == "my_data"
