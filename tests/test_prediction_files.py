"""Files of predictions: pictures, records and masks."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from centernet2.prediction_files import FileDetections, write_predictions
from tests.helpers.drawing import canvas, detections


def test_prediction_files(tmp_path: Path) -> None:
    image = canvas(60, 80)
    found = [
        (Path("a/scene.jpg"), image, detections([[1, 2, 30.126, 40]], [0.75], [1])),
        (Path("b/scene.jpg"), image, detections([], [], [])),
    ]
    assert write_predictions(iter(found), tmp_path / "out", class_names=["cat", "Löwe"]) == 2
    records = json.loads((tmp_path / "out/predictions.json").read_text(encoding="utf-8"))
    assert records[0] == {
        "file": str(Path("a/scene.jpg")),
        "picture": "00000_scene.png",
        "width": 80,
        "height": 60,
        "detections": [{"box": [1, 2, 30.13, 40], "score": 0.75, "label": 1, "class": "Löwe"}],
    }
    assert records[1]["detections"] == []
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "00000_scene.png",
        "00001_scene.png",
        "predictions.json",
    ]
    drawn = np.array(Image.open(tmp_path / "out/00000_scene.png"))
    assert drawn.shape == (240, 320, 3) and (drawn != 128).any(), "four times as large"


def test_masks_are_written_as_run_lengths(tmp_path: Path) -> None:
    coco_mask = pytest.importorskip(
        "pycocotools.mask", reason="pycocotools reads the run lengths of this test"
    )
    found = detections([[1, 2, 30, 40]], [0.75], [1])
    found["masks"] = torch.zeros(1, 60, 80, dtype=torch.bool)
    found["masks"][0, 5:20, 7:30] = True
    write_predictions([(Path("a.jpg"), canvas(60, 80), found)], tmp_path, class_names=None)
    (record,) = json.loads((tmp_path / "predictions.json").read_text())[0]["detections"]
    assert np.array_equal(coco_mask.decode(record["segmentation"]), found["masks"][0].numpy())


def test_any_file_name_is_written(tmp_path: Path) -> None:
    names = [os.fsdecode(b"caf\xe9.jpg"), "n" * 250 + ".jpg", "Löwe?*:.jpg"]
    found = [(Path("in") / name, canvas(60, 80), detections([], [], [])) for name in names]
    assert write_predictions(found, tmp_path, class_names=None) == len(names)
    records = json.loads((tmp_path / "predictions.json").read_bytes().decode("utf-8"))
    assert [Path(record["file"]).name for record in records] == [r"caf\xe9.jpg", *names[1:]]
    pictures = [record["picture"] for record in records]
    assert pictures[0] == "00000_caf_.png" and pictures[2] == "00002_Löwe___.png"
    assert all((tmp_path / picture).is_file() for picture in pictures)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_images_before_an_interruption_are_kept(
    tmp_path: Path, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def interrupted(images: int) -> Iterator[FileDetections]:
        for index in range(images):
            yield Path(f"{index}.jpg"), canvas(60, 80), detections([], [], [])
        raise error

    for images, expected in ((2, 2), (0, 2)):  # without an image, the old file stays
        with pytest.raises(error):
            write_predictions(interrupted(images), tmp_path, class_names=None)
        assert len(json.loads((tmp_path / "predictions.json").read_text())) == expected
    assert "stopped after 2 images" in caplog.text
    assert not list(tmp_path.glob(".*"))


def test_empty_predictions_are_valid_json(tmp_path: Path) -> None:
    assert write_predictions([], tmp_path, class_names=None) == 0
    assert json.loads((tmp_path / "predictions.json").read_text()) == []
