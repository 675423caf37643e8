"""A detector's classes and those of the data to evaluate it on."""

import json
from pathlib import Path

import numpy as np
import pytest

from centernet2.builders.data.class_matching import match_classes
from centernet2.data.readers.coco import DetectionDataset, load_coco
from centernet2.evaluation.coco_metrics import coco_metrics

BOX = [10.0, 10.0, 20.0, 20.0]


@pytest.fixture
def dataset(tmp_path: Path) -> DetectionDataset:
    """Two images with one object of each of the classes ant, bee and cat."""
    one = {"bbox": BOX, "area": 400, "iscrowd": 0}
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 50, "width": 60} for i in (1, 2)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(("ant", "bee", "cat"))],
        "annotations": [
            {**one, "id": 3 * i + k, "image_id": i, "category_id": k}
            for i in (1, 2)
            for k in range(3)
        ],
    }
    (tmp_path / "truth.json").write_text(json.dumps(content))
    return load_coco(tmp_path / "truth.json", tmp_path, name="val")


def test_equal_classes_need_no_map(dataset: DetectionDataset) -> None:
    matched = match_classes(("ant", "bee", "cat"), dataset, owner="the detector")
    assert matched == (dataset, None, ())


def test_other_classes_are_said(dataset: DetectionDataset) -> None:
    matched = match_classes(("dog", "cat", "ant"), dataset, owner="the detector")
    assert matched.dataset is dataset and matched.label_map is not None
    assert matched.label_map.tolist() == [-1, 2, 0]
    assert matched.notes == (
        "val lacks 1 class of the detector: dog; their detections are left out, since nothing says "
        "whether they are right",
        "the detector lacks 1 class of val: bee; their 2 objects count as missed "
        "(`eval --known-classes-only` leaves them out)",
    )


def test_unknown_classes_can_be_left_out(dataset: DetectionDataset) -> None:
    """Detect all objects of the known classes perfectly."""
    for known_only, expected in ((False, 200 / 3), (True, 100)):
        matched = match_classes(("cat", "ant"), dataset, owner="detector", known_only=known_only)
        assert matched.label_map is not None
        labels = matched.label_map.tolist()
        rows = [[i, *BOX, 0.9, label] for i in range(2) for label in labels]
        metrics = coco_metrics(matched.dataset, np.array(rows, dtype=np.float64))
        assert metrics["bbox/AP"] == pytest.approx(expected)
        assert metrics["bbox/AP/cat"] == pytest.approx(100)
        assert metrics.get("bbox/AP/bee") == (None if known_only else 0)
    assert "bee; they and their 2 objects are left out of all metrics" in matched.notes[0]


def test_no_class_in_common_is_refused(dataset: DetectionDataset) -> None:
    names = tuple(f"old {i}" for i in range(80))
    with pytest.raises(
        ValueError,
        match=r"val has 3 classes \(ant, bee, cat\), and the detector has 80 classes "
        r"\(old 0, .* and 75 more\), but no name is in both",
    ):
        match_classes(names, dataset, owner="the detector")
