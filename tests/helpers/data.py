"""Small data sets, their batches, and problems of annotations."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from centernet2.data import (
    DetectionDataset,
    RandomFlip,
    ShuffledSampler,
    TrainTransform,
    train_batches,
)
from centernet2.data.check.observations import check_objects
from centernet2.data.findings import Finding
from centernet2.data.readers import load_dataset
from centernet2.data.readers.coco import ReadRecords, read_records
from centernet2.structures import Batch

Content = dict[str, list[dict[str, Any]]]  # of a COCO JSON file
Write = Callable[..., Path]  # the fixture `write`


def make_content() -> Content:
    """Make three images: two objects and a crowd, a crowd, nothing; ids are unsorted."""
    return {
        "categories": [{"id": 7, "name": "zebra"}, {"id": 3, "name": "ant"}],
        "images": [
            {"id": 30, "file_name": "wide.png", "width": 64, "height": 48},
            {"id": 10, "file_name": "tall.png", "width": 40, "height": 60},
            {"id": 20, "file_name": "empty.png", "width": 32, "height": 32},
        ],
        "annotations": [
            {"id": 1, "image_id": 30, "category_id": 7, "bbox": [4, 6, 20, 10], "area": 150.0,
             "iscrowd": 0},
            {"id": 2, "image_id": 10, "category_id": 3, "bbox": [0, 0, 30, 30], "area": 900.0,
             "iscrowd": 1},
            {"id": 3, "image_id": 30, "category_id": 3, "bbox": [30, 20, 8, 8], "area": 64.0,
             "iscrowd": 0},
            {"id": 4, "image_id": 30, "category_id": 3, "bbox": [0, 0, 64, 48], "area": 99.0,
             "iscrowd": 1},
        ],
    }  # fmt: skip


def write_dataset(folder: Path, content: Any, split: str = "train") -> Path:
    """Write annotations and noise images as --data has them; return the JSON file."""
    (folder / "images").mkdir(exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for record in content.get("images", []):
        pixels = rng.integers(0, 256, (record["height"], record["width"], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / record["file_name"])
    path = folder / "annotations" / f"instances_{split}.json"
    path.write_text(json.dumps(content))
    return path


FLIP_ONLY = TrainTransform(steps=(RandomFlip(direction="horizontal"),))


def load_split(data: Path | str, split: str = "train", **options: Any) -> DetectionDataset:
    """Load a split of a data set in any layout."""
    return load_dataset(data=data, data_path=None, names=(), split=split, **options)


def load_by_files(annotations: Path, images: object) -> DetectionDataset:
    """Load a data set by its annotations and image folder."""
    name = f"{annotations}@{images}"
    return load_dataset(data=None, data_path=None, names=(name,), split="train")


def first_batches(
    dataset: DetectionDataset, count: int, *, start_step: int = 0, num_workers: int = 0
) -> list[Batch]:
    """Return the first batches, of two images each."""
    batches = train_batches(
        dataset, FLIP_ONLY, ShuffledSampler(len(dataset), seed=5), batch_size=2,
        num_workers=num_workers, start_step=start_step, aspect_ratio_grouping=True, rank=0,
        world_size=1,
    )  # fmt: skip
    return list(islice(batches, count))


def assert_same_batches(first: list[Batch], second: list[Batch]) -> None:
    assert [batch.image_ids for batch in first] == [batch.image_ids for batch in second]
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.images, b.images, strict=True))
        for x, y in zip(a.targets, b.targets, strict=True):
            assert torch.equal(x["boxes"], y["boxes"]) and torch.equal(x["labels"], y["labels"])


def change(content: Content, row: int, **values: Any) -> Content:
    """Change an annotation in place."""
    content["annotations"][row] |= values
    return content


def renumber(content: Content, ids: dict[str, int]) -> Content:
    """Copy the content with other category ids, by name; categories without one are left out."""
    names = {category["id"]: category["name"] for category in content["categories"]}
    annotations = [
        {**each, "category_id": ids[names[each["category_id"]]]}
        for each in content["annotations"]
        if names[each["category_id"]] in ids
    ]
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    return {**content, "categories": categories, "annotations": annotations}


def read_content(content: Content, *, masks: bool = False) -> ReadRecords:
    """Read records as training does, without their image files."""
    return read_records(content, Path("nowhere"), name="train", masks=masks, max_examples=None)


def findings_of(content: Content) -> list[Finding]:
    """Return what a check finds in the records of a training split."""
    records = read_content(content)
    return [*records.dataset.findings, *check_objects(records, "train")]


def problems(content: Content) -> dict[str, tuple[int, str]]:
    """Return the problems by kind: their number, and what training does about them."""
    return {
        each.kind: (each.total, each.action)
        for each in findings_of(content)
        if each.action != "note"
    }


NOT_NUMBERS = "boxes that are not four finite numbers"
EMPTY = "boxes without positive width and height"
# name -> what to do to the fixture `content`, the kind of problem, what training does about it
PROBLEMS: dict[str, tuple[Callable[[Content], Any], str, str]] = {
    "not a number": (lambda c: change(c, 0, bbox=[float("nan"), 1, 2, 3]), NOT_NUMBERS, "refuses"),
    "three numbers": (lambda c: change(c, 0, bbox=[1, 2, 3]), NOT_NUMBERS, "refuses"),
    "no box": (lambda c: c["annotations"][0].pop("bbox"), NOT_NUMBERS, "refuses"),
    "negative": (lambda c: change(c, 0, bbox=[30, 30, -4, 5]), EMPTY, "drops"),
    "empty": (lambda c: change(c, 0, bbox=[3, 3, 0, 5]), EMPTY, "drops"),
    "outside": (lambda c: change(c, 0, bbox=[300, 3, 10, 5]),
                "boxes completely outside their image", "drops"),
    "reaching out": (lambda c: change(c, 0, bbox=[-8, 3, 30, 5]),
                     "boxes that extend beyond their image", "repairs"),
    "unknown class": (lambda c: change(c, 0, category_id=99), "unknown categories", "refuses"),
    "unknown image": (lambda c: change(c, 0, image_id=99), "unknown images", "refuses"),
    "same id": (lambda c: change(c, 0, id=2), "annotations without an id of their own", "repairs"),
    "no id": (lambda c: c["annotations"][0].pop("id"), "annotations without an id of their own",
              "repairs"),
    "area in words": (lambda c: change(c, 0, area="large"), "areas that are no positive numbers",
                      "repairs"),
    "same image id": (lambda c: c["images"][2].update(id=10), "duplicate image ids", "refuses"),
    "same box": (lambda c: c["annotations"].append({**c["annotations"][0], "id": 9}),
                 "duplicate boxes", "keeps"),
    "no area": (lambda c: change(c, 0, area=0), "areas that are no positive numbers", "repairs"),
    "same file": (lambda c: c["images"].append({**c["images"][2], "id": 40}),
                  "images listed twice", "keeps"),
    "same file, other objects": (
        lambda c: (c["images"].append({**c["images"][0], "id": 40}), change(c, 0, image_id=40)),
        "images listed twice with different objects", "refuses"),
    "nothing": (lambda c: c["annotations"].clear(), "no objects", "refuses"),
}  # fmt: skip
INCOMPLETE: dict[str, Callable[[Content], Any]] = {
    "image without id": lambda c: c["images"][0].pop("id"),
    "image without width": lambda c: c["images"][0].pop("width"),
    "image of no height": lambda c: c["images"][0].update(height=0),
    "image without name": lambda c: c["images"][0].pop("file_name"),
    "image id in words": lambda c: c["images"][0].update(id="x"),
    "image id is true": lambda c: c["images"][0].update(id=True),
    "image id in a list": lambda c: change(c, 0, image_id=[1]),
    "no category": lambda c: c["annotations"][0].pop("category_id"),
    "category without name": lambda c: c["categories"][0].pop("name"),
    "category id twice": lambda c: c["categories"][0].update(id=3),
    "numbers in place of records": lambda c: c["images"].append(1),  # type: ignore[arg-type]
    "no categories": lambda c: c.pop("categories"),
}
