"""The images on which the ranges of activations are measured."""

import logging
from pathlib import Path

import pytest

from centernet2.builders.data import calibration_images
from centernet2.builders.data.calibration_images import (
    find_calibration_images,
    read_calibration_images,
)
from centernet2.images.image_files import ImageError
from tests.helpers.jobs import write_photographs
from tests.helpers.training import write_blocks


def heights(source: Path) -> list[int]:
    """Heights of the images; those of `write_photographs` have 48, 56, 64 ..."""
    images = read_calibration_images(find_calibration_images(source))
    return [image.shape[1] for image in images]


def test_images_come_from_a_folder_a_pattern_or_a_file(tmp_path: Path) -> None:
    photos = write_photographs(tmp_path / "photos", 3)
    assert heights(photos) == [48, 56, 64]
    assert heights(photos / "[12].png") == [56, 64] and heights(photos / "2.png") == [64]


def test_images_come_from_the_training_split_of_data(tmp_path: Path) -> None:
    data = write_blocks(tmp_path)
    train = len(find_calibration_images(data / "annotations" / "instances_train.json"))
    assert len(find_calibration_images(data)) == train > 0


def test_images_are_spread_over_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_images, "CALIBRATION_IMAGES", 3)
    assert heights(write_photographs(tmp_path / "photos", 5)) == [48, 64, 80]


def test_unreadable_images_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos = write_photographs(tmp_path / "photos", 2)
    (photos / "0.png").write_bytes(b"nothing")
    with caplog.at_level(logging.WARNING):
        assert heights(photos) == [56]
    assert "0.png" in caplog.text and "left out" in caplog.text
    (photos / "1.png").write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"no image for calibration in .*photos can be read \("):
        find_calibration_images(photos)


def test_no_images(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in ("empty", "missing", "*.jpg"):
        with pytest.raises((FileNotFoundError, ValueError), match=r"no image found|missing"):
            find_calibration_images(tmp_path / source)
