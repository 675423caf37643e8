"""Accepted corrections of labels, applied to a copy of the records."""

import json
from pathlib import Path
from typing import Any

import pytest

from centernet2.data.check import Correction, read_accepted
from centernet2.data.check.corrections import Label, corrected_content
from tests.helpers.data import Content, make_content

ANT, ZEBRA = "ant", "zebra"


def correction(annotation: int | None, label: Label | None, suggested: Label | None) -> Correction:
    return Correction(1, "a kind", "train", 30, "wide.png", annotation, label, suggested)


def label_of(content: Content, row: int) -> Label:
    record = content["annotations"][row]
    names = {each["id"]: each["name"] for each in content["categories"]}
    return Label(names[record["category_id"]], tuple(record["bbox"]))


def test_each_kind_of_correction_changes_one_label() -> None:
    content = make_content()
    before = json.dumps(content)
    first, second = label_of(content, 0), label_of(content, 2)
    other = ANT if first.name == ZEBRA else ZEBRA
    changed, lines = corrected_content(
        content,
        [correction(1, first, first._replace(name=other)), correction(3, second, None),
         correction(None, None, Label(ANT, (1.0, 2.0, 3.0, 4.0)))],
    )  # fmt: skip
    assert json.dumps(content) == before
    ids = {each["name"]: each["id"] for each in content["categories"]}
    by_id = {each["id"]: each for each in changed["annotations"]}
    assert by_id[1] == {**content["annotations"][0], "category_id": ids[other]}
    assert set(by_id) == {1, 2, 4, 5}
    assert by_id[5]["bbox"] == [1, 2, 3, 4] and by_id[5]["area"] == 12
    assert by_id[5]["image_id"] == 30 and by_id[5]["iscrowd"] == 0
    assert lines == [
        f"corrected: annotation 1 in wide.png: {first.name} to {other} (a kind)",
        "removed: annotation 3 in wide.png (a kind)",
        "added: ant in wide.png (a kind)",
    ]


def test_corrected_box_has_no_mask() -> None:
    content = make_content()
    content["annotations"][0]["segmentation"] = [[0, 0, 5, 0, 5, 5]]
    old = label_of(content, 0)
    changed, lines = corrected_content(
        content, [correction(1, old, old._replace(xywh=(2.0, 2.0, 5.0, 6.0)))]
    )
    first = changed["annotations"][0]
    assert first["bbox"] == [2, 2, 5, 6] and first["area"] == 30 and "segmentation" not in first
    assert lines == ["corrected: annotation 1 in wide.png: its box (a kind)"]


@pytest.mark.parametrize("damage", ["box", "class", "gone", "unknown class", "image"])
def test_data_that_have_changed_are_refused(damage: str) -> None:
    content = make_content()
    old = label_of(content, 0)
    wanted = correction(1, old, None)
    if damage == "box":
        content["annotations"][0]["bbox"][0] += 1
    elif damage == "class":
        wanted = correction(1, old._replace(name=ANT if old.name == ZEBRA else ZEBRA), None)
    elif damage == "gone":
        del content["annotations"][0]
    elif damage == "unknown class":
        wanted = correction(1, old, old._replace(name="horse"))
    else:
        wanted = correction(1, old, None)._replace(image_id=99)
    with pytest.raises(ValueError, match=r"suggestion 1 is about wide\.png, which is not labelled"):
        corrected_content(content, [wanted])


def record(**changes: Any) -> dict[str, Any]:
    return {
        "number": 1, "accept": True, "kind": "wrong class", "suspicion": 0.9, "reason": "",
        "split": "train", "image_id": 30, "file_name": "wide.png", "annotation_id": 1,
        "label": {"class": ANT, "bbox": [1, 2, 3, 4]},
        "suggested": {"class": ZEBRA, "bbox": [1, 2, 3, 4]},
        **changes,
    }  # fmt: skip


def test_only_accepted_suggestions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    decisions = [True, False, None]
    path.write_text(json.dumps({"suggestions": [record(accept=each) for each in decisions]}))
    (accepted,) = read_accepted(path)
    assert accepted.label == Label(ANT, (1, 2, 3, 4)) and accepted.suggested is not None
    assert accepted.suggested.name == ZEBRA and accepted.annotation_id == 1


@pytest.mark.parametrize(("content", "words"), [
    ({"images": []}, "holds no suggestions"),
    ({"suggestions": [record(accept="yes")]}, "suggestion 1: \"accept\" is 'yes'; write true"),
    ({"suggestions": [record(), {"accept": True}]}, "suggestion 2: 'number' is missing"),
    ({"suggestions": [3]}, "holds no suggestions"),
    ({"suggestions": [record(label="ant")]}, "suggestion 1: "),
    ({"suggestions": [record(suggested={"class": ANT, "bbox": [1, 2, 0, 4]})]}, "has no area"),
    ({"suggestions": [record(suggested={"class": ANT, "bbox": [1, 2, 4]})]}, "suggestion 1: "),
])  # fmt: skip
def test_damaged_files_are_refused(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=words):
        read_accepted(path)
