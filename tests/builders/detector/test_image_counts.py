"""Images of each class for the federated loss: from a file, or counted in the data."""

import json
from pathlib import Path
from typing import Any

import pytest

import centernet2
from centernet2.builders.detector.image_counts import image_counts_of_data, image_counts_of_file
from centernet2.config import Config, ConfigError
from centernet2.data import DetectionDataset
from centernet2.data.readers.coco import load_coco
from tests.helpers.data import make_content, write_dataset

ANT, ZEBRA = {"id": 3, "image_count": 5}, {"id": 7, "image_count": 8}


@pytest.fixture
def dataset(tmp_path: Path) -> DetectionDataset:
    """Two classes: ant, with id 3, and zebra, with id 7."""
    path = write_dataset(tmp_path, make_content())
    return load_coco(path, tmp_path / "images", name="zoo")


def config_of(path: Path | str, classes: int = 2) -> Config:
    keys = {
        "MODEL.ROI_BOX_HEAD.USE_FED_LOSS": True,
        "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": True,
        "MODEL.ROI_BOX_HEAD.CAT_FREQ_PATH": str(path),
        "MODEL.ROI_HEADS.NUM_CLASSES": classes,
    }
    return centernet2.load_config("CenterNet2_R18_small", keys)


def write(folder: Path, content: Any) -> Path:
    path = folder / "counts.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("records", [
    [ZEBRA, ANT],
    [ZEBRA, ANT, {"id": 9, "image_count": 1}],
    # The names count: these ids are of another file.
    [{"id": 1, "name": "zebra", "image_count": 8}, {"id": 2, "name": "ant", "image_count": 5}],
])  # fmt: skip
def test_classes_are_matched(records: list[Any], dataset: DetectionDataset, tmp_path: Path) -> None:
    counts = image_counts_of_data(config_of(write(tmp_path, records)), dataset)
    by_name = dict(zip(dataset.class_names, counts.tolist(), strict=True))
    assert by_name == {"ant": 5, "zebra": 8}


def test_without_a_file_images_are_counted(dataset: DetectionDataset) -> None:
    counts = image_counts_of_data(config_of(""), dataset)
    by_name = dict(zip(dataset.class_names, counts.tolist(), strict=True))
    assert by_name == {"ant": 2, "zebra": 1}
    assert image_counts_of_file(config_of("")) is None


def test_without_data_classes_follow_the_ids(tmp_path: Path) -> None:
    counts = image_counts_of_file(config_of(write(tmp_path, [ZEBRA, ANT])))
    assert counts is not None and counts.tolist() == [5, 8]


@pytest.mark.parametrize(("content", "message"), [
    ([ANT], "counts no images of 1 of 2 classes of .*: none has the id 7; set MODEL"),
    ([ANT | {"name": "bee"}, ZEBRA | {"name": "zebra"}], "none has the name 'ant'"),
    ("{", "is not JSON"),
    ({"ant": 5}, "is no list of classes"),
    ([ANT, {"id": 7}], "is no list of classes"),
    ([ANT, ZEBRA | {"image_count": -1}], "the image_count of 7 is negative"),
])  # fmt: skip
def test_unusable_files_are_refused(
    content: Any, message: str, dataset: DetectionDataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        image_counts_of_data(config_of(write(tmp_path, content)), dataset)


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [ANT, ZEBRA])
    with pytest.raises(ConfigError, match="counts 2 classes, but the model has 3; set MODEL"):
        image_counts_of_file(config_of(path, classes=3))
