"""Data sets that label a part of the classes: unknown classes, joined sets, added objects."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hotcoco import mask as rle

from centernet2.data import DetectionDataset, with_objects, with_unlabelled_classes
from centernet2.data.annotation_masks import RUN_LENGTHS, pack_masks
from centernet2.data.geometry import clip_and_drop_empty
from centernet2.data.mixing import join_targets
from centernet2.data.readers import load_dataset
from centernet2.evaluation.coco_metrics import coco_metrics
from centernet2.structures import Target
from tests.helpers.data import load_split
from tests.helpers.training import write_blocks


def load(folder: Path) -> DetectionDataset:
    return load_split(folder)


def test_classes_are_numbered_by_name_and_the_others_are_unknown(tmp_path: Path) -> None:
    dataset = load(write_blocks(tmp_path, "cat", "dog"))
    more = with_unlabelled_classes(dataset, ["ant", "dog", "cat", "bee"])
    assert more.labels.tolist() == [2] * 4
    assert more.category_ids == ("ant", 8, 7, "bee")
    assert more.target(0)["unknown"].tolist() == [True, False, False, True]
    again = with_unlabelled_classes(more, ["bee", "cat", "eel", "dog", "ant"])
    assert again.target(0)["unknown"].tolist() == [True, False, True, False, True]
    assert "unknown" not in dataset.target(0)


def test_added_objects_are_objects_or_uncertain(tmp_path: Path) -> None:
    dataset = with_unlabelled_classes(load(write_blocks(tmp_path, "cat")), ["ant", "cat"])
    images, boxes = np.array([2, 0, 2]), np.arange(12.0).reshape(3, 4)
    uncertain = np.array([False, True, True])
    more = with_objects(dataset, images, boxes, np.zeros(3, dtype=np.int64), uncertain=uncertain)
    assert np.diff(more.offsets).tolist() == [2, 1, 3, 1]
    target = more.target(2)
    assert target["labels"].tolist() == [1, 0, 0]
    assert target["uncertain"].tolist() == [False, False, True]
    assert target["boxes"][1].tolist() == [0, 1, 2, 4] and target["boxes"][2, 0] == 8
    assert more.target(0)["uncertain"].tolist() == [False, True]
    assert "uncertain" not in load(tmp_path).target(0)


def test_added_objects_keep_their_masks(tmp_path: Path) -> None:
    """A certain and an uncertain object in image 2, whose block has a mask of polygons."""
    write_blocks(tmp_path, "cat")
    path = tmp_path / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    for each in content["annotations"]:
        each["segmentation"] = [[10, 10, 30, 10, 30, 30]]
    path.write_text(json.dumps(content))
    dataset = load_split(tmp_path, "train", masks=True)
    bitmaps = np.zeros((64, 64, 2), dtype=np.uint8, order="F")
    bitmaps[:8, :8, 0] = bitmaps[40:, 40:, 1] = 1
    runs = [each["counts"] for each in rle.encode(bitmaps)]
    more = with_objects(
        with_unlabelled_classes(dataset, ["ant", "cat"]), np.array([2, 2]),
        np.array([[0.0, 0, 8, 8], [40, 40, 24, 24]]), np.zeros(2, dtype=np.int64),
        uncertain=np.array([False, True]), masks=pack_masks([RUN_LENGTHS] * 2, runs),
    )  # fmt: skip
    target = more.target(2)
    assert target["uncertain"].tolist() == [False, False, True]
    assert target["masks"].flatten(1).sum(dim=1).tolist()[1:] == [64, 24 * 24]
    assert target["masks"][2, 40:, 40:].all() and "polygons" in more.target(1)


def test_augmentation_keeps_what_is_unknown() -> None:
    first: Target = {
        "boxes": torch.tensor([[0.0, 0, 8, 8], [90, 90, 99, 99]]),
        "labels": torch.tensor([0, 1]),
        "unknown": torch.tensor([False, False, True]),
        "uncertain": torch.tensor([True, False]),
    }
    second: Target = {
        "boxes": torch.tensor([[4.0, 4, 9, 9]]),
        "labels": torch.tensor([1]),
        "unknown": torch.tensor([True, False, False]),
    }
    joined = clip_and_drop_empty(join_targets([first, second], 64, 64), height=64, width=64)
    assert joined["labels"].tolist() == [0, 1]
    assert joined["unknown"].tolist() == [True, False, True]
    assert joined["uncertain"].tolist() == [True, False]


@pytest.mark.parametrize("split", ["train", "val"])
def test_joined_sets_label_what_they_have(tmp_path: Path, split: str) -> None:
    first = write_blocks(tmp_path / "a", "cat", "dog")
    second = write_blocks(tmp_path / "b", "dog", "ant")
    names = (str(first), str(second))
    with pytest.raises(ValueError, match="'cat' is missing, 'ant' is added"):
        load_dataset(data=None, data_path=None, names=names, split="train")
    dataset = load_dataset(
        data=None,
        data_path=None,
        names=names,
        split=split,  # type: ignore[arg-type]
        partial_labels=True,
    )
    assert dataset.class_names == ("cat", "dog", "ant")
    assert dataset.labels.tolist() == [0] * 4 + [1] * 4
    assert dataset.target(0)["unknown"].tolist() == [False, False, True]
    assert dataset.target(4)["unknown"].tolist() == [True, False, False]
    assert dataset.source_category_ids == ((7, 8, "ant"), ("cat", 7, 8))


def test_evaluation_does_not_judge_what_a_set_does_not_label(tmp_path: Path) -> None:
    """The detections that are right, and one of each class that its image does not label."""
    sets = (str(write_blocks(tmp_path / "a", "cat")), str(write_blocks(tmp_path / "b", "dog")))
    dataset = load_dataset(data=None, data_path=None, names=sets, split="val", partial_labels=True)
    boxes, image = dataset.xywh, np.repeat(np.arange(8), np.diff(dataset.offsets))
    right = np.column_stack([image, boxes, np.full(8, 0.5), dataset.labels])
    other = np.column_stack([image, boxes + 20, np.full(8, 0.9), 1 - dataset.labels])
    metrics = coco_metrics(dataset, np.concatenate([right, other]))
    assert metrics["bbox/AP"] == pytest.approx(100)
    wrong = np.column_stack([image, boxes + 20, np.full(8, 0.9), dataset.labels])
    assert coco_metrics(dataset, np.concatenate([right, wrong]))["bbox/AP"] < 60
