import json
from pathlib import Path

import pytest

from centernet2.data.check.observations import check_classes
from centernet2.data.readers.coco import load_coco
from tests.helpers.data import INCOMPLETE, PROBLEMS, Content, findings_of, problems

CROWDS = "crowds (iscrowd 1, or difficult in Pascal VOC)"


def test_good_file_has_no_problems(content: Content) -> None:
    assert problems(content) == {}
    notes = {each.kind for each in findings_of(content)}
    assert notes == {"images without an object", "category ids with gaps", CROWDS}


def test_crowds_in_place_of_objects_are_named(content: Content) -> None:
    for record in content["annotations"]:
        record["iscrowd"] = 1
    found = {each.kind: each for each in findings_of(content)}
    assert found["no objects"].action == "refuses"
    assert found["no objects"].advice.startswith("4 annotations are crowds (iscrowd 1")
    assert found[CROWDS].total == 4


def test_class_names_that_differ_in_case_are_noted(content: Content) -> None:
    content["categories"].append({"id": 9, "name": "Ant"})
    (found,) = (each for each in findings_of(content) if "upper and lower case" in each.kind)
    assert (found.action, found.examples[0].text) == ("note", "ant and Ant")


def test_gaps_between_category_ids(content: Content) -> None:
    content["categories"].append({"id": 4, "name": "bee"})
    (gaps,) = (each for each in findings_of(content) if each.kind == "category ids with gaps")
    assert (gaps.total, gaps.action) == (1, "note")
    assert [example.text for example in gaps.examples] == ["after 4 comes 7"]


def test_other_class_names_of_a_split() -> None:
    other = ("zebra", "bee")
    found = check_classes({"test": other, "train": ("ant", "zebra"), "val": other})
    assert [(each.split, each.examples[0].text, each.action) for each in found] == [
        ("test", "'bee'", "note"),
        ("test", "'ant'", "note"),
        ("val", "'bee'", "keeps"),
        ("val", "'ant'", "note"),
    ]
    assert check_classes({"train": ("ant", "zebra"), "val": ("bee",)})[0].action == "refuses"
    assert not check_classes({"train": ("ant", "zebra"), "val": ("zebra", "ant")})
    assert not check_classes({"all": other})


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_problem_is_found_alone(content: Content, name: str) -> None:
    spoil, kind, action = PROBLEMS[name]
    spoil(content)
    assert problems(content) == {kind: (1, action)}


@pytest.mark.parametrize("name", INCOMPLETE)
def test_check_finds_what_training_refuses(content: Content, name: str, tmp_path: Path) -> None:
    INCOMPLETE[name](content)
    path = tmp_path / "spoilt.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"spoilt\.json"):
        load_coco(path, tmp_path, name="spoilt")
    assert "refuses" in {action for _, action in problems(content).values()}
