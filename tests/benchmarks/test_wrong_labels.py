"""The errors that the benchmark of label checks injects, and its line of JSON."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.helpers.jobs import save_untrained
from tests.helpers.training import write_blocks

FILE = Path(__file__).parents[2] / "benchmarks" / "wrong_labels.py"


@pytest.fixture
def wrong_labels(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FILE.parent))
    return importlib.import_module("wrong_labels")


def grid() -> dict[str, Any]:
    """Make ten images with three labels each."""
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 200, "height": 200} for i in range(10)]
    annotations = [
        {
            "id": 3 * i + k,
            "image_id": i,
            "category_id": 1 + k % 2,
            "bbox": [20 + 60 * k, 30, 30, 40],
            "area": 1200,
            "iscrowd": 0,
        }
        for i in range(10)
        for k in range(3)
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def test_injected_errors_are_of_their_kind(wrong_labels: ModuleType) -> None:
    content = grid()
    changed, errors = wrong_labels.inject(content, 3, seed=1)
    assert wrong_labels.inject(content, 3, seed=1) == (changed, errors)
    before = {each["id"]: each for each in content["annotations"]}
    after = {each["id"]: each for each in changed["annotations"]}
    kinds: dict[str, list[dict[str, Any]]] = {}
    for kind, annotation in errors:
        kinds.setdefault(kind, []).append(annotation)
    assert {kind: len(rows) for kind, rows in kinds.items()} == dict.fromkeys(
        ("missing", "wrong class", "loose box", "spurious"), 3
    )
    touched = {each["id"] for rows in kinds.values() for each in rows}
    assert len(touched) == 12
    assert all(after[i] == before[i] for i in before if i not in touched)
    assert all(each["id"] not in after for each in kinds["missing"])
    for each in kinds["wrong class"]:
        assert after[each["id"]] == each
        old = before[each["id"]]
        assert each == {**old, "category_id": 3 - old["category_id"]}
    for each in kinds["loose box"]:
        assert 0.4 <= iou(wrong_labels, each, before[each["id"]]) <= 0.7
    for each in kinds["spurious"]:
        others = (a for a in before.values() if a["image_id"] == each["image_id"])
        assert max(iou(wrong_labels, each, other) for other in others) <= 0.1
        assert after[each["id"]] == each


def iou(module: ModuleType, first: dict[str, Any], second: dict[str, Any]) -> float:
    boxes = (np.array([each["bbox"]], dtype=np.float64) for each in (first, second))
    value: float = module.iou_of(*boxes).item()
    return value


def test_result_counts_all_rows(tmp_path: Path) -> None:
    data = write_blocks(tmp_path / "data")
    content = json.loads((data / "annotations" / "instances_val.json").read_text())
    content["categories"].append({"id": 8, "name": "block 2"})
    (data / "annotations" / "instances_val.json").write_text(json.dumps(content))
    weights = save_untrained(tmp_path / "model.pth", ("block", "block 2"))
    words = ["--weights", str(weights), "--errors", "1", "--seeds", "5"]
    command = [sys.executable, str(FILE), str(data), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["labels"] == 4 <= result["rows"] and result["seed"] == 5
    assert set(result["found"]) == {"missing", "wrong class", "loose box", "spurious", "all"}
    assert all(len(shares) == 4 for shares in result["found"].values())
