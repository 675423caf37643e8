"""Records as strangers write them: the same data set, and a finding that counts the repair."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from centernet2.data.dataset import DetectionDataset
from centernet2.data.readers.coco import load_coco
from tests.helpers.data import Content, change, findings_of, problems, write_dataset


def each(key: str, **values: Any) -> Callable[[Content], None]:
    """Change all records of a list; a value may be a function of the record."""

    def apply(content: Content) -> None:
        for record in content[key]:
            record |= {k: v(record) if callable(v) else v for k, v in values.items()}

    return apply


def renumbered(shift: int, make: Callable[[int], Any] = int) -> Callable[[Content], None]:
    """Shift all ids and convert them."""

    def apply(content: Content) -> None:
        each("images", id=lambda r: make(r["id"] + shift))(content)
        each("categories", id=lambda r: make(r["id"] + shift))(content)
        each(
            "annotations",
            image_id=lambda r: make(r["image_id"] + shift),
            category_id=lambda r: make(r["category_id"] + shift),
        )(content)

    return apply


def listed_again(key: str, **values: Any) -> Callable[[Content], None]:
    """Append the first record of a list once more, changed."""
    return lambda content: content[key].append({**content[key][0], **values})


IMAGES = {"images referred to by ids of another type": 4}
CATEGORIES = {"categories referred to by ids of another type": 4}
# name -> what is done to good records, number of findings by kind
REPAIRED: dict[str, tuple[Callable[[Content], Any], dict[str, int]]] = {
    "large ids": (renumbered(2**60), {}),
    "larger ids": (renumbered(2**70), {}),
    "negative ids": (renumbered(-1000), {}),
    "ids of letters": (renumbered(0, lambda n: f"id{n}"), {}),
    "ids in decimals": (
        renumbered(0, float),
        {"image ids with decimals": 3, "category ids with decimals": 2} | IMAGES | CATEGORIES,
    ),
    "image ids as text": (each("annotations", image_id=lambda r: str(r["image_id"])), IMAGES),
    "category ids as text": (
        each("annotations", category_id=lambda r: str(r["category_id"])), CATEGORIES,
    ),
    "ids as text": (each("images", id=lambda r: str(r["id"])), IMAGES),
    "annotation ids of letters": (each("annotations", id=lambda r: f"a{r['id']}"), {}),
    "no annotation ids": (
        each("annotations", id=None), {"annotations without an id of their own": 4},
    ),
    "impossible sizes": (
        each("images", width=10**9, height=10**9), {"images without a usable width and height": 3},
    ),
    "sizes as text": (
        each("images", width=lambda r: str(r["width"]), height=lambda r: float(r["height"])),
        {"width written as text": 3},
    ),
    "no sizes": (
        each("images", width=None, height=0), {"images without a usable width and height": 3},
    ),
    "boxes as text": (
        each("annotations", bbox=lambda r: [*map(str, r["bbox"])]), {"bbox written as text": 4},
    ),
    "areas as text": (
        each("annotations", area=lambda r: str(r["area"])), {"area written as text": 4},
    ),
    "crowds as text": (
        each("annotations", iscrowd=lambda r: str(r["iscrowd"])),
        {"iscrowd that is null or a text": 4},
    ),
    "crowds as booleans": (each("annotations", iscrowd=lambda r: bool(r["iscrowd"])), {}),
    "image listed again": (listed_again("images"), {"images listed twice under one id": 1}),
    "class listed again": (listed_again("categories"), {"categories listed twice under one id": 1}),
    "spaces around a name": (
        lambda c: c["categories"][0].update(name=" zebra\n"),
        {"category names with spaces around them": 1},
    ),
    "lists that mean nothing": (lambda c: c.update(licenses=None, info="2024"), {}),
    "any segmentation": (each("annotations", segmentation=[1, "x", {"counts": None}]), {}),
}  # fmt: skip


def loaded(content: Content, folder: Path) -> DetectionDataset:
    path = folder / "annotations" / "instances_train.json"
    path.write_text(json.dumps(content))
    return load_coco(path, folder / "images", name="toy")


@pytest.mark.parametrize("what", REPAIRED)
def test_same_data_set(content: Content, tmp_path: Path, what: str) -> None:
    write_dataset(tmp_path, content)
    before = loaded(content, tmp_path)
    spoil, expected = REPAIRED[what]
    spoil(content)
    after = loaded(content, tmp_path)
    by_name = dict(zip(after.files.tolist(), range(len(after)), strict=True))
    assert sorted(by_name) == sorted(before.files.tolist())
    for i in range(len(before)):
        k = by_name[before.files[i]]
        assert after.size(k) == before.size(i)
        rows = [slice(*d.offsets[j : j + 2]) for d, j in ((before, i), (after, k))]
        for column in ("xywh", "areas", "crowd"):
            first, second = getattr(before, column)[rows[0]], getattr(after, column)[rows[1]]
            assert np.array_equal(first, second)
        names = [
            [d.class_names[label] for label in d.labels[r]]
            for d, r in zip((before, after), rows, strict=True)
        ]
        assert names[0] == names[1]
    assert {each.kind: each.total for each in after.findings} == expected
    assert {each.action for each in after.findings} <= {"repairs"}


def test_exact_ids_come_first(content: Content, tmp_path: Path) -> None:
    write_dataset(tmp_path, content)
    content["images"][1]["id"] = "30"  # beside 30
    change(content, 1, image_id="30")
    dataset = loaded(content, tmp_path)
    assert [dataset.image_id(i) for i in range(3)] == [20, 30, "30"]
    assert dataset.offsets.tolist() == [0, 0, 3, 4] and not dataset.findings


def test_user_ids_of_any_size_are_kept(content: Content, tmp_path: Path) -> None:
    write_dataset(tmp_path, content)
    renumbered(2**70)(content)
    dataset = loaded(content, tmp_path)
    assert dataset.image_id(0) == 2**70 + 10 and dataset.category_ids == (2**70 + 3, 2**70 + 7)


def test_defaults_of_crowds(content: Content, tmp_path: Path) -> None:
    write_dataset(tmp_path, content)
    for row, value in enumerate((None, "", "0", "true")):
        change(content, row, iscrowd=value)
    assert sorted(loaded(content, tmp_path).crowd.tolist()) == [False, False, False, True]


def test_box_of_a_mask(content: Content) -> None:
    change(content, 0, bbox=None, segmentation=[[4, 6, 24, 6, 24, 16, 4, 16]])
    change(content, 2, bbox=[], segmentation={"size": [48, 64], "counts": [52, 8, 3012]})
    assert problems(content) == {"annotations without bbox": (2, "repairs")}


def test_areas_default_to_those_of_boxes(content: Content, tmp_path: Path) -> None:
    write_dataset(tmp_path, content)
    del content["annotations"][0]["area"]
    for row, value in ((1, "large"), (2, -3), (3, float("nan"))):
        change(content, row, area=value)
    dataset = loaded(content, tmp_path)
    assert dataset.areas.tolist() == [900, 200, 64, 3072]
    assert {each.kind: (each.total, each.action) for each in dataset.findings} == {
        "areas that are no positive numbers": (3, "repairs"),
        "annotations without area": (1, "note"),
    }


def test_category_names(content: Content) -> None:
    content["categories"] += [{"id": 8, "name": 101}, {"id": 9, "name": "ant "}]
    found = {each.kind: each.examples[0].text for each in findings_of(content)}
    assert found["category names that are numbers"] == "category 8 has name 101"
    assert found["duplicate category names"] == "category 9 has the name of category 3, 'ant'"


def test_cached_findings_are_said_again(
    content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr("centernet2.data.index.MIN_SIZE", 0)
    monkeypatch.setenv("CENTERNET2_CACHE", str(tmp_path / "cache"))
    write_dataset(tmp_path, change(content, 0, bbox=[4, 6, 0, 10]))
    path = tmp_path / "annotations" / "instances_train.json"
    with caplog.at_level(logging.WARNING):
        first = load_coco(path, tmp_path / "images", name="toy")
        messages = caplog.messages.copy()
        caplog.clear()
        second = load_coco(path, tmp_path / "images", name="toy")
    assert messages == caplog.messages and "1 dropped" in messages[0]
    assert first.findings == second.findings and second.findings[0].examples[0].box == (4, 6, 0, 10)
