import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from centernet2.data.dataset import DetectionDataset
from centernet2.data.readers.coco import load_coco
from centernet2.data.readers.json_file import read_json

Write = Callable[[Any], Path]


def load(path: Path, name: str = "toy") -> DetectionDataset:
    return load_coco(path, path.parent.parent / "images", name=name)


def test_index_is_sorted_and_contiguous(content: Any, write: Write) -> None:
    path = write(content)
    dataset = load(path)
    assert (dataset.name, len(dataset), dataset.annotations) == ("toy", 3, path)
    assert (dataset.class_names, dataset.category_ids) == (("ant", "zebra"), (3, 7))
    assert dataset.image_ids.tolist() == [10, 20, 30]
    assert [dataset.image_path(i).name for i in range(3)] == ["tall.png", "empty.png", "wide.png"]
    assert all(dataset.image_path(i).is_file() for i in range(3))
    assert [dataset.size(i) for i in range(3)] == [(60, 40), (32, 32), (48, 64)]
    assert dataset.offsets.tolist() == [0, 1, 1, 4]
    assert dataset.crowd.tolist() == [True, False, False, True]
    assert dataset.areas.tolist() == [900, 150, 64, 99]


def test_targets_leave_crowds_out(content: Any, write: Write) -> None:
    dataset = load(write(content))
    assert dataset.target(2)["boxes"].tolist() == [[4, 6, 24, 16], [30, 20, 38, 28]]
    assert dataset.target(2)["labels"].tolist() == [1, 0]
    for empty in (0, 1):
        assert dataset.target(empty)["boxes"].shape == (0, 4)
        assert dataset.target(empty)["labels"].shape == (0,)


def test_boxes_keep_the_order_of_the_file(content: Any, write: Write) -> None:
    content["annotations"] = [
        {"id": n, "image_id": (10, 20, 30)[n % 3], "category_id": 3, "bbox": [0, 0, 1 + n, 1]}
        for n in range(300)
    ]
    widths = load(write(content)).target(1)["boxes"][:, 2]
    assert widths.tolist() == [1 + n for n in range(1, 300, 3)]


def test_defaults_of_area_and_crowd(content: Any, write: Write) -> None:
    content["annotations"] = [{"id": 1, "image_id": 30, "category_id": 7, "bbox": [4, 6, 20, 10]}]
    dataset = load(write(content))
    assert dataset.areas.tolist() == [200]
    assert dataset.crowd.tolist() == [False]


def test_lvis_file_names_come_from_urls(content: Any, write: Write) -> None:
    path = write(content)
    for record in content["images"]:
        record["coco_url"] = "http://images.example/val2017/" + record.pop("file_name")
    path.write_text(json.dumps(content))
    assert load(path).image_path(2) == path.parent.parent / "images" / "val2017" / "wide.png"


def test_empty_boxes_are_dropped_with_one_warning(
    content: Any, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    content["annotations"][0]["bbox"] = [24, 16, -20, -10]
    content["annotations"][2]["bbox"] = [30, 20, 0, 8]
    dataset = load(write(content))
    assert len(dataset.labels) == 2
    assert [
        r.getMessage()
        for r in caplog.records
        if "width and height: 2 dropped; correct" in r.getMessage()
        and "annotation 1 in wide.png" in r.getMessage()
    ]


def test_boxes_outside_are_dropped_or_reported(
    content: Any, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    content["annotations"][0]["bbox"] = [60, 6, 20, 10]
    content["annotations"][2]["bbox"] = [64, 20, 8, 8]
    assert load(write(content)).target(2)["boxes"].tolist() == [[60, 6, 80, 16]]
    assert "extend beyond their image: 1 repaired; training clips them to the image" in caplog.text
    assert "completely outside their image: 1 dropped" in caplog.text
    assert "annotation 3 in wide.png has bbox [64, 20, 8, 8]" in caplog.text


BREAKS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "image id": (lambda c: c["annotations"][1].update(image_id=99),
                 "unknown images: annotation 2 has image_id 99; add"),
    "category id": (lambda c: c["annotations"][1].update(category_id=99),
                    "unknown categories: annotation 2 in tall.png has category_id 99; add"),
    "id of a list": (lambda c: c["annotations"][1].update(image_id=[1]),
                     r"unknown images: annotation 2 has image_id \[1\]"),
    "no box": (lambda c: c["annotations"][2].pop("bbox"), "annotation 3 in wide.png has no bbox"),
    "no category": (lambda c: c["annotations"][2].pop("category_id"),
                    "annotation 3 in wide.png has no category_id"),
    "crowd of 2": (lambda c: c["annotations"][2].update(iscrowd=2),
                   "annotation 3 in wide.png has iscrowd 2; write 0 or 1"),
    "true as an id": (lambda c: c["annotations"][2].update(category_id=True),
                      "annotation 3 in wide.png has category_id True"),
    "same image id": (lambda c: c["images"][2].update(id=10), "image 10 has the id of another one"),
    "same category id": (lambda c: c["categories"][1].update(id=7),
                         "category 7 has the id of another one"),
    "same category name": (lambda c: c["categories"][1].update(name="zebra"),
                           "category 3 has the name of category 7, 'zebra'; merge"),
    "image id in words": (lambda c: c["images"][2].update(id=[1]),
                          r"images without a usable id: image number 3 has id \[1\]"),
    "no width": (lambda c: c["images"][2].pop("width"),
                 "unknown size: image 20 has height 32 and no width"),
    "no height to speak of": (lambda c: c["images"][2].update(height=0),
                              "unknown size: image 20 has height 0"),
    "no file name": (lambda c: c["images"][2].pop("file_name"), "image 20 has no file_name"),
    "null as a URL": (lambda c: c["images"][2].update(file_name=None, coco_url=None),
                      "image 20 has file_name None and coco_url None"),
    "no category name": (lambda c: c["categories"][1].pop("name"), "category 3 has no name"),
    "no images": (lambda c: c.pop("images"), "list 'images' is missing"),
    "empty list of images": (lambda c: c["images"].clear(), "list 'images' is missing or empty"),
    "no categories": (lambda c: c.pop("categories"), "list 'categories' is missing or empty"),
    "annotations are an object": (lambda c: c.update(annotations={}),
                                  "'annotations' is not a list"),
    "list of numbers": (lambda c: c.update(images=[1, 2]), "image number 1 is 1"),
    "number of images": (lambda c: c.update(images=3), "'images' is not a list"),
}  # fmt: skip
BOXES = ([float("nan"), 2, 3, 4], [1, 2, float("inf"), 4], [1, 2, 3], ["a", 2, 3, 4], None,
         [[1, 2, 3, 4]], [1, 2, 3, 4, 0.5])  # fmt: skip
BREAKS |= {
    f"box {box}": (
        lambda c, box=box: c["annotations"][2].update(bbox=box),
        "finite numbers: annotation 3 in wide.png has bbox",
    )
    for box in BOXES
}


@pytest.mark.parametrize("what", BREAKS)
def test_errors_name_the_file_and_the_record(content: Any, write: Write, what: str) -> None:
    path = write(content)
    change, message = BREAKS[what]
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"instances_train\.json: .*{message}"):
        load_coco(path, path.parent, name="toy")  # without the images, which would tell their sizes


@pytest.mark.parametrize(
    ("text", "message"), [("", "not a JSON file"), ("[]", "not a list"), ("{", "not a JSON file")]
)
def test_files_that_are_not_coco(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"a\.json: .*{message}"):
        load(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.json: .*No such file"):
        load(tmp_path / "a.json")


@pytest.mark.parametrize(("split", "boxes", "empty"), [("train", 470, 1), ("val", 382, 2)])
def test_tiny_coco(shared: Path, split: str, boxes: int, empty: int) -> None:
    folder = shared / "data" / "coco_tiny" / "coco2017"
    dataset = load_coco(
        folder / "annotations" / f"instances_{split}2017.json", folder / f"{split}2017", name=split
    )
    assert (len(dataset), len(dataset.labels), int(dataset.crowd.sum())) == (50, boxes, 5)
    assert (len(dataset.class_names), dataset.class_names[0], dataset.class_names[79]) == (
        80,
        "person",
        "toothbrush",
    )
    assert (dataset.category_ids[0], dataset.category_ids[79]) == (1, 90)
    assert int((np.diff(dataset.offsets) == 0).sum()) == empty
    assert all(dataset.image_path(i).is_file() for i in range(50))


def test_reading_restores_garbage_collection(content: Any, write: Write, tmp_path: Path) -> None:
    read_json(write(content))
    assert gc.isenabled()
    with pytest.raises(ValueError, match="cannot be opened"):
        read_json(tmp_path / "absent.json")
    assert gc.isenabled()
