import json
import sys
from pathlib import Path

import pytest

from centernet2.data.check import repair
from centernet2.data.readers import load_coco
from tests.helpers.data import INCOMPLETE, PROBLEMS, Content, problems


@pytest.mark.parametrize(
    "name", [name for name in PROBLEMS if name not in ("nothing", "same box", "same file")]
)
def test_repaired_copy_has_no_problems(content: Content, name: str, tmp_path: Path) -> None:
    PROBLEMS[name][0](content)
    repaired, changes = repair(content)
    assert problems(repaired) == {} and changes
    path = tmp_path / "repaired.json"
    path.write_text(json.dumps(repaired))
    assert len(load_coco(path, tmp_path, name="repaired")) >= 2


@pytest.mark.parametrize("name", [name for name in INCOMPLETE if name != "no categories"])
def test_repaired_copy_can_be_read(content: Content, name: str, tmp_path: Path) -> None:
    INCOMPLETE[name](content)
    repaired, changes = repair(content)
    assert changes
    refused = "refuses" in {action for _, action in problems(repaired).values()}
    assert not refused or not repaired["annotations"]
    path = tmp_path / "repaired.json"
    path.write_text(json.dumps(repaired))
    load_coco(path, tmp_path, name="repaired")


def test_missing_categories_are_a_change(content: Content) -> None:
    INCOMPLETE["no categories"](content)
    assert repair(content)[1]


def test_corners_become_sizes(content: Content) -> None:
    before = json.loads(json.dumps(content))
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["bbox"] = [x, y, x + w, y + h]
    assert "corners in place of width and height" in problems(content)
    repaired, changes = repair(content)
    assert [a["bbox"] for a in repaired["annotations"]] == [
        a["bbox"] for a in before["annotations"]
    ]
    assert len(changes) == 4


def with_one_id(content: Content, count: int) -> Content:
    """Annotations that all have the id 1."""
    annotation = content["annotations"][0]
    return {**content, "annotations": [{**annotation, "id": 1} for _ in range(count)]}


def test_new_ids_differ_from_all_others(content: Content) -> None:
    content["annotations"][1]["id"] = 1
    content["annotations"][3]["id"] = 5  # the next number after the largest of the first three + 1
    repaired, changes = repair(content)
    assert [each["id"] for each in repaired["annotations"]] == [1, 6, 3, 5]
    assert changes == ["annotation 1 renumbered 6: its id was a duplicate"]


def calls_of_repair(content: Content) -> int:
    """Function calls, and steps of generators, that a repair takes."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        repair(content)
    finally:
        sys.setprofile(None)
    return calls


def test_work_is_linear_in_repeated_ids(content: Content) -> None:
    few, many = (calls_of_repair(with_one_id(content, count)) for count in (500, 2000))
    assert many < 4.5 * few


def test_repairs_many_repeated_ids(content: Content) -> None:
    repaired, changes = repair(with_one_id(content, 200_000))  # hours, if each looked at the others
    assert len({each["id"] for each in repaired["annotations"]}) == 200_000
    assert len(changes) == 199_999
