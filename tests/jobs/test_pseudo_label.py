"""Annotations from a teacher's detections, on which a student is trained."""

import json
import os
import shutil
from pathlib import Path

import pytest

import centernet2
from centernet2.jobs.pseudo_label import pseudo_label
from tests.helpers.jobs import save_untrained
from tests.helpers.training import SMALL, TINY


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of one class."""
    return save_untrained(tmp_path_factory.mktemp("teacher") / "model.pth", ("block",))


def test_annotations_are_teacher_detections(teacher: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "pseudo.json"
    counts = pseudo_label(
        weights=teacher, images=data / "images", output=output, score=0.0, device="cpu"
    ).boxes
    content = json.loads(output.read_text())
    assert counts == {"block": len(content["annotations"])} and counts["block"] > 0
    assert [image["file_name"] for image in content["images"]] == [f"{i}.png" for i in range(1, 5)]
    assert [a["id"] for a in content["annotations"]] == [*range(1, len(content["annotations"]) + 1)]
    best = max(content["annotations"], key=lambda each: each["score"])
    image = content["images"][best["image_id"] - 1]
    predictor = centernet2.load_predictor(teacher, device="cpu")
    detections = predictor(data / "images" / image["file_name"])
    left, top, width, height = best["bbox"]
    assert detections.boxes[0].tolist() == pytest.approx(
        [left, top, left + width, top + height], abs=0.011
    )


def test_student_trains_on_both_kinds_of_labels(teacher: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "pseudo.json"
    pseudo_label(weights=teacher, images=data / "images", output=output, score=0.0, device="cpu")
    labeled = data / "annotations" / "instances_train.json"
    sets = [f"{labeled}@{data / 'images'}", f"{output}@{data / 'images'}"]
    overrides = ["DATASETS.TRAIN", str(sets), "DATASETS.TEST", str(sets[:1])]
    overrides += ["DATALOADER.DATASET_RATIO", "(1, 3)"]
    metrics = centernet2.train(
        SMALL, *TINY, *overrides, output_dir=tmp_path / "student", seed=1, device="cpu"
    )
    assert "bbox/AP/block" in metrics


def test_high_threshold_leaves_images_unlabelled(teacher: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "pseudo.json"
    counts = pseudo_label(
        weights=teacher, images=data / "images", output=output, score=1.0, device="cpu"
    ).boxes
    assert counts == {"block": 0}
    assert len(json.loads(output.read_text())["images"]) == 4


def test_missing_output_folder_is_created(teacher: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "pseudo.json"
    pseudo_label(weights=teacher, images=data / "images", output=output, device="cpu")
    assert output.is_file()


def test_images_that_cannot_be_labeled_are_skipped(
    teacher: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images, output = tmp_path / "images", tmp_path / "pseudo.json"
    shutil.copytree(data / "images", images)
    (images / "broken.png").write_text("no image")
    (images / "1.png").rename(images / os.fsdecode(b"caf\xe9.png"))
    labels = pseudo_label(weights=teacher, images=images, output=output, device="cpu")
    assert labels.skipped == 2
    content = json.loads(output.read_text())
    assert [image["file_name"] for image in content["images"]] == ["2.png", "3.png", "4.png"]
    assert r"caf\xe9.png: the name is not UTF-8" in caplog.text and "broken.png" in caplog.text
    assert "2 of 5 images are skipped" in caplog.text


def test_impossible_inputs_are_refused(teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    output = tmp_path / "pseudo.json"
    for images, score, words in (
        (tmp_path, 30, "--score is 30; scores are in 0..1"),
        (tmp_path / "a.png", 0.5, r"--images .*a\.png is no folder"),
        (tmp_path, 0.5, "no image can be used"),
    ):
        with pytest.raises(ValueError, match=words):
            pseudo_label(weights=teacher, images=images, output=output, score=score, device="cpu")
    assert not output.exists()
