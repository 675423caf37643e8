"""A teacher's detections as annotations that another training takes beside its own."""

import json
from pathlib import Path

import pytest

import centernet2
from centernet2.jobs.pseudo_label import pseudo_label
from tests.helpers.training import TINY, train


def test_a_student_learns_from_labelled_and_pseudo_labelled_images(
    data: Path,
    tmp_path: Path,
) -> None:
    train(data, tmp_path / "teacher")
    teacher, output = tmp_path / "teacher" / "model_final.pth", tmp_path / "pseudo.json"
    counts = pseudo_label(
        weights=teacher, images=data / "images", output=output, score=0.0, device="cpu"
    )

    content = json.loads(output.read_text())
    assert counts == {"block": len(content["annotations"])} and counts["block"] > 0
    assert [image["file_name"] for image in content["images"]] == [f"{i}.png" for i in range(1, 5)]
    best = max(content["annotations"], key=lambda each: each["score"])
    left, top, width, height = best["bbox"]
    predictor = centernet2.load_predictor(teacher, device="cpu")
    found = predictor(data / "images" / content["images"][best["image_id"] - 1]["file_name"])
    assert found["boxes"][0].tolist() == pytest.approx(
        [left, top, left + width, top + height], abs=0.011
    )

    labelled = data / "annotations" / "instances_train.json"
    sets = [f"{labelled}@{data / 'images'}", f"{output}@{data / 'images'}"]
    options = [
        "DATASETS.TRAIN",
        str(sets),
        "DATASETS.TEST",
        str(sets[:1]),
        "DATALOADER.DATASET_RATIO",
        "(1, 3)",
    ]
    config = centernet2.load_config("CenterNet2_R18_small", [*TINY, *options])
    metrics = centernet2.train(config, output_dir=tmp_path / "student", seed=1, device="cpu")
    assert "bbox/AP/block" in metrics


def test_nothing_scores_enough(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "teacher")
    output = tmp_path / "pseudo.json"
    assert pseudo_label(
        weights=tmp_path / "teacher" / "model_final.pth",
        images=data / "images",
        output=output,
        score=1.0,
    ) == {"block": 0}
    assert len(json.loads(output.read_text())["images"]) == 4


def test_a_folder_that_is_not_there_is_said_before_the_work(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "teacher")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        pseudo_label(
            weights=tmp_path / "teacher" / "model_final.pth",
            images=data / "images",
            output=tmp_path / "no" / "pseudo.json",
        )
