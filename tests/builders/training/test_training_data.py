"""The data of a training run: classes that match, and what is said about them."""

import re
from pathlib import Path

import pytest

from centernet2.builders.data.data_pipeline import build_sampler
from centernet2.builders.training.training_data import find_training_data
from centernet2.config import Config
from tests.helpers.data import make_content, renumber, write_dataset
from tests.helpers.training import write_blocks


@pytest.mark.parametrize(("ids", "difference"), [
    ({"zebra": 1, "ant": 2}, ""),
    ({"zebra": 1}, "_val lacks 1 class of .*_train: ant; their detections are left out"),
    ({"zebra": 1, "ant": 2, "bee": 3}, "_train lacks 1 class of .*_val: bee; .*as missed"),
])  # fmt: skip
def test_validation_data_keep_their_classes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ids: dict[str, int], difference: str
) -> None:
    write_dataset(tmp_path, make_content(), "train")
    write_dataset(tmp_path, renumber(make_content(), ids), "val")
    _, val_set = find_training_data(Config(), tmp_path, None)
    assert val_set.class_names == tuple(ids) and val_set.category_ids == tuple(ids.values())
    warnings = [message for message in caplog.messages if " lacks " in message]
    assert len(warnings) == bool(difference)
    assert not difference or re.search(difference, warnings[0])


def test_validation_data_of_other_classes_are_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path, make_content(), "train")
    content = make_content()
    content["categories"] = [{**c, "name": f"old {c['name']}"} for c in content["categories"]]
    write_dataset(tmp_path, content, "val")
    with pytest.raises(ValueError, match=r"\(old ant, old zebra\), .*\(ant, zebra\), but no name"):
        find_training_data(Config(), tmp_path, None)


def test_crowds_and_classes_without_objects_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as the masks of CVAT, and the group of classes in exports of Roboflow."""
    content = make_content()
    content["categories"].append({"id": 0, "name": "animals"})
    for split in ("train", "val"):
        write_dataset(tmp_path, content, split)
    find_training_data(Config(), tmp_path, None)
    assert "2 of 4 objects are crowds (iscrowd 1, or difficult in Pascal VOC)" in caplog.text
    assert "has no object of 1 class (animals); the detector cannot learn it" in caplog.text


def test_what_is_kept_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = make_content()
    content["images"].append({**content["images"][2], "id": 40})
    content["annotations"].append({**content["annotations"][0], "id": 9})
    for split in ("train", "val"):
        write_dataset(tmp_path, content, split)
    find_training_data(Config(), tmp_path, None)
    assert "images listed twice: 1 kept; training uses" in caplog.text
    assert "first: image 40: empty.png" in caplog.text
    assert "duplicate boxes: 1 kept; each counts as an object of its own" in caplog.text


def test_images_of_both_splits_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = make_content()
    write_dataset(tmp_path, content)
    content["images"][1]["file_name"] = "other.png"
    write_dataset(tmp_path, content, "val")
    find_training_data(Config(), tmp_path, None)
    assert "2 of 3 validation images are training images, too" in caplog.text


@pytest.mark.parametrize("named", [False, True])
def test_validation_data_without_an_object_are_refused(tmp_path: Path, named: bool) -> None:
    content = make_content()
    train = write_dataset(tmp_path, content, "train")
    content["annotations"] = [each for each in content["annotations"] if each["iscrowd"]]
    val = write_dataset(tmp_path, content, "val")
    config, data = Config(), None if named else tmp_path
    if named:
        sets = {"TRAIN": train, "TEST": val}
        images = tmp_path / "images"
        config = config.replace({f"DATASETS.{k}": (f"{v}@{images}",) for k, v in sets.items()})
    with pytest.raises(ValueError, match=r"instances_val\.json: no image has an object, .* no AP"):
        find_training_data(config, data, None)
    find_training_data(config.replace({"TEST.EVAL_PERIOD": -1}), data, None)


@pytest.mark.parametrize("order", [("full", "empty"), ("empty", "full")])
def test_ratio_of_data_without_objects_is_refused(order: tuple[str, str], tmp_path: Path) -> None:
    """None of its images could be drawn; such as of pseudo-labels at too high a score."""
    content, images = make_content(), tmp_path / "images"
    files = {"full": write_dataset(tmp_path, content, "full")}
    files["empty"] = write_dataset(tmp_path, {**content, "annotations": []}, "empty")
    names = tuple(f"{files[each]}@{images}" for each in order)
    config = Config().replace({"DATASETS.TRAIN": names, "DATASETS.TEST": (names[0],)})
    config = config.replace({"TEST.EVAL_PERIOD": -1})
    train_set, _ = find_training_data(config, None, None)
    with pytest.raises(ValueError, match=r"instances_empty has no image .* leave this data set"):
        build_sampler(config.replace({"DATALOADER.DATASET_RATIO": (1, 1)}), train_set, 0)
    with pytest.raises(ValueError, match=r"DATASET_RATIO is .*; give a number for each of the 2"):
        build_sampler(config.replace({"DATALOADER.DATASET_RATIO": (1,)}), train_set, 0)


def test_classes_that_differ_in_case_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sets = (write_blocks(tmp_path / "first", "block"), write_blocks(tmp_path / "second", "Block"))
    names = tuple(map(str, sets))
    joined = {"DATASETS.TRAIN": names, "DATASETS.TEST": names, "DATASETS.PARTIAL_LABELS": True}
    find_training_data(Config().replace(joined), None, None)
    assert "the classes block and Block of" in caplog.text
    assert "--class-map Block=block makes them one" in caplog.text
