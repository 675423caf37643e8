from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from centernet2.data.dataset import (
    DetectionDataset,
    concatenate,
    with_classes,
    without_empty_images,
)
from centernet2.data.readers.coco import load_coco
from tests.helpers.data import renumber

Write = Callable[[Any], Path]


def load(path: Path, name: str = "toy") -> DetectionDataset:
    return load_coco(path, path.parent.parent / "images", name=name)


def test_target_has_its_own_memory(content: Any, write: Write) -> None:
    dataset = load(write(content))
    dataset.target(2)["boxes"].zero_()
    assert dataset.target(2)["boxes"].sum() > 0


def test_subset_moves_boxes_with_their_images(content: Any, write: Write) -> None:
    whole = replace(load(write(content)), unusable=np.array([False, False, True]))
    part = whole.subset(np.array([2, 1, 2]))
    assert part.unusable is not None and part.unusable.tolist() == [True, False, True]
    assert part.image_ids.tolist() == [30, 20, 30]
    assert part.offsets.tolist() == [0, 3, 3, 6]
    assert (
        part.target(0)["boxes"].tolist()
        == part.target(2)["boxes"].tolist()
        == [[4, 6, 24, 16], [30, 20, 38, 28]]
    )


def test_images_without_objects_are_left_out(content: Any, write: Write) -> None:
    assert without_empty_images(load(write(content))).image_ids.tolist() == [30]


def test_training_without_objects_is_refused(content: Any, write: Write) -> None:
    dataset = load(write({**content, "annotations": content["annotations"][1:2]}))
    with pytest.raises(ValueError, match=r"instances_train\.json: no image has an object"):
        without_empty_images(dataset)


def test_concatenation_keeps_paths_and_boxes(content: Any, write: Write, tmp_path: Path) -> None:
    first = load(write(content))
    second = load_coco(first.annotations or tmp_path, tmp_path / "elsewhere" / "more", name="other")
    joined = concatenate([first, second])
    assert (joined.name, len(joined), joined.annotations) == ("toy+other", 6, None)
    assert joined.image_path(2) == first.image_path(2)
    assert joined.image_path(5) == tmp_path / "elsewhere" / "more" / "wide.png"
    assert joined.target(5)["boxes"].tolist() == first.target(2)["boxes"].tolist()


def test_concatenation_refuses_other_classes(content: Any, write: Write) -> None:
    first = load(write(content))
    content["categories"][0]["name"] = "horse"
    with pytest.raises(ValueError, match=r"json has 2 classes .*'horse' is added; .*--class-map"):
        concatenate([first, load(write(content), name="other")])


@pytest.mark.parametrize("join", [False, True], ids=["alone", "joined"])
def test_classes_are_matched_by_name(content: Any, write: Write, join: bool) -> None:
    first = load(write(content))
    other = load(write(renumber(content, {"zebra": 1, "ant": 2})), name="other")
    assert (first.class_names, other.class_names) == (("ant", "zebra"), ("zebra", "ant"))
    if join:
        labels = concatenate([first, other]).labels.tolist()
        assert labels == 2 * first.labels.tolist()
        return
    matched = with_classes(other, first.class_names, owner="toy")
    assert (matched.class_names, matched.category_ids) == (("ant", "zebra"), (2, 1))
    assert matched.labels.tolist() == first.labels.tolist() != other.labels.tolist()
    assert with_classes(first, first.class_names, owner="toy") is first
