import json
import sys
from pathlib import Path

import pytest

from centernet2.data.check import ExaminedSplit, write_repaired
from centernet2.data.check.repair import repaired_content
from centernet2.data.readers.box_units import OTHER_FORMS
from centernet2.data.readers.coco import load_coco
from tests.helpers.data import INCOMPLETE, PROBLEMS, Content, problems, read_content


def repair(content: Content, folder: Path) -> tuple[Content, list[str]]:
    """Write a repaired copy; return its content and the changes."""
    split = ExaminedSplit(content, read_content(content, masks=True), [])
    ((path, changes),) = write_repaired({"train": split}, folder / "repaired.json").items()
    return json.loads(path.read_text()), changes


@pytest.mark.parametrize(
    "name", [name for name in PROBLEMS if name not in ("nothing", "same box", "same file")]
)
def test_repaired_copy_has_no_problems(content: Content, name: str, tmp_path: Path) -> None:
    PROBLEMS[name][0](content)
    repaired, changes = repair(content, tmp_path)
    assert problems(repaired) == {} and changes
    assert len(load_coco(tmp_path / "repaired.json", tmp_path, name="repaired")) >= 2


@pytest.mark.parametrize("name", [name for name in INCOMPLETE if name != "no categories"])
def test_repaired_copy_can_be_read(content: Content, name: str, tmp_path: Path) -> None:
    INCOMPLETE[name](content)
    repaired, changes = repair(content, tmp_path)
    assert changes
    assert not problems(repaired) or problems(repaired) == {"no objects": (1, "refuses")}
    load_coco(tmp_path / "repaired.json", tmp_path, name="repaired")


def test_missing_categories_are_a_change(content: Content, tmp_path: Path) -> None:
    INCOMPLETE["no categories"](content)
    assert repair(content, tmp_path)[1]


def test_corners_become_sizes(content: Content, tmp_path: Path) -> None:
    before = json.loads(json.dumps(content))
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["bbox"] = [x, y, x + w, y + h]
    assert "boxes [x1, y1, x2, y2] in place of [x, y, width, height]" in problems(content)
    repaired, changes = repair(content, tmp_path)
    assert [a["bbox"] for a in repaired["annotations"]] == [
        a["bbox"] for a in before["annotations"]
    ]
    assert len(changes) == 4


@pytest.mark.parametrize("kind", [form.kind for form in OTHER_FORMS])
def test_boxes_of_other_forms_are_turned(content: Content, kind: str, tmp_path: Path) -> None:
    boxes = [[x, 20, 20, 26] for x in range(2, 40, 2)] + [[0, 0, 64, 40]] * 2
    content["annotations"] = [
        {"id": i, "image_id": 30, "category_id": 3, "bbox": _forms(box)[kind], "iscrowd": 0}
        for i, box in enumerate(boxes)
    ]
    refused = {name for name, (_, action) in problems(content).items() if action == "refuses"}
    assert refused == {kind}
    repaired, _ = repair(content, tmp_path)
    assert [each["bbox"] for each in repaired["annotations"]] == boxes


def _forms(box: list[int]) -> dict[str, list[float]]:
    x, y, w, h = box
    corners, rows = [x, y, x + w, y + h], [y, x, y + h, x + w]
    kinds = [form.kind for form in OTHER_FORMS]
    return dict(zip(kinds, (corners, rows, [x + w / 2, y + h / 2, w, h]), strict=True))


@pytest.mark.parametrize("count", [1, 10])
def test_a_few_boxes_beyond_their_image_are_not_centers(content: Content, count: int) -> None:
    content["annotations"] = [
        {"id": i, "image_id": 30, "category_id": 3, "bbox": [50 + i / 9, 20, 20, 20], "iscrowd": 0}
        for i in range(count)
    ]
    assert {action for _, action in problems(content).values()} <= {"repairs", "note"}


def test_objects_of_several_listings_are_joined(content: Content, tmp_path: Path) -> None:
    """Files that were joined list an image once for each class, and some objects twice."""
    content["images"] += [{**content["images"][0], "id": 40}, {**content["images"][0], "id": 41}]
    content["annotations"][0]["image_id"] = 40
    content["annotations"].append({**content["annotations"][2], "id": 9, "image_id": 41})
    kind = "images listed twice with different objects"
    assert problems(content) == {kind: (2, "refuses")}
    repaired, changes = repair(content, tmp_path)
    assert [image["id"] for image in repaired["images"]] == [10, 20, 30]
    assert sorted(a["id"] for a in repaired["annotations"]) == [1, 2, 3, 4]
    assert {a["image_id"] for a in repaired["annotations"]} == {10, 30}
    assert problems(repaired) == {} and len(changes) == 2


def with_one_id(content: Content, count: int) -> Content:
    """Annotations that all have the id 1."""
    annotation = content["annotations"][0]
    return {**content, "annotations": [{**annotation, "id": 1} for _ in range(count)]}


def test_new_ids_differ_from_all_others(content: Content, tmp_path: Path) -> None:
    content["annotations"][1]["id"] = 1
    content["annotations"][3]["id"] = 5  # the next number after the largest of the first three + 1
    repaired, changes = repair(content, tmp_path)
    assert [each["id"] for each in repaired["annotations"]] == [1, 6, 3, 5]
    assert changes == ["repaired: annotation 1 has id 1 (annotations without an id of their own)"]


def calls_of_repair(content: Content) -> int:
    """Function calls, and steps of generators, that a repair takes."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        repaired_content(content, read_content(content))
    finally:
        sys.setprofile(None)
    return calls


def test_work_is_linear_in_repeated_ids(content: Content) -> None:
    few, many = (calls_of_repair(with_one_id(content, count)) for count in (500, 2000))
    assert many < 4.5 * few


def test_repairs_many_repeated_ids(content: Content) -> None:
    repeated = with_one_id(content, 200_000)  # hours, if each looked at the others
    repaired = repaired_content(repeated, read_content(repeated))
    assert len({each["id"] for each in repaired["annotations"]}) == 200_000
