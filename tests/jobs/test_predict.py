"""Prediction on files: any weights and config, overrides, pictures and JSON."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

import centernet2
from centernet2 import cli
from centernet2.exit_codes import ExitCode
from centernet2.jobs import InferenceOptions
from centernet2.jobs.predict import predict, split_overrides
from tests.helpers.jobs import QUICK, SMALL, build_untrained, save_untrained, write_photographs

CPU = InferenceOptions(device="cpu")
CLASSES = ["MODEL.ROI_HEADS.NUM_CLASSES", "2", "MODEL.CENTERNET.NUM_CLASSES", "2"]
AUGMENTED = ["TEST.AUG.ENABLED", "True", "TEST.AUG.MIN_SIZES", "(64, 96)", "TEST.AUG.FLIP", "True"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs, and a detector as our checkpoint and as one of the reference."""
    folder = tmp_path_factory.mktemp("predict")
    write_photographs(folder / "photos")
    save_untrained(folder / "ours.pth")
    centernet2.export_reference_checkpoint(build_untrained(), folder / "reference.pth")
    return folder


def detections(folder: Path, *words: str, **options: Any) -> list[dict[str, Any]]:
    """Return the detections that `predict` writes for the photographs of a folder."""
    predict(
        folder / "photos", *words,
        output=folder / "out", score_threshold=0.0, inference=CPU, **options,
    )  # fmt: skip
    records = json.loads((folder / "out" / "predictions.json").read_text())
    # without class names: the reference has none
    return [
        {**detection, "file": record["file"], "class": None}
        for record in records
        for detection in record["detections"]
    ]


@pytest.mark.parametrize("overrides", [[], AUGMENTED], ids=["plain", "augmented"])
def test_config_file_and_checkpoint_predict_alike(folder: Path, overrides: list[str]) -> None:
    ours = detections(folder, *overrides, weights=folder / "ours.pth")
    reference = detections(
        folder, *QUICK, *CLASSES, *overrides, weights=folder / "reference.pth", config=SMALL
    )
    assert reference == ours and len(ours) > 0


@pytest.mark.parametrize("kind", ["ours", "reference"])
def test_test_time_augmentation_changes_detections(folder: Path, kind: str) -> None:
    options: dict[str, Any] = {"weights": folder / f"{kind}.pth"}
    if kind == "reference":
        options["config"] = centernet2.load_config(SMALL, [*QUICK, *CLASSES])
    assert detections(folder, *AUGMENTED, **options) != detections(folder, **options)


def test_score_threshold_limits_what_is_written(folder: Path) -> None:
    everything = detections(folder, weights=folder / "ours.pth")
    middle = sorted(each["score"] for each in everything)[len(everything) // 2]
    weights, output = folder / "ours.pth", folder / "strict"
    predict(
        str(folder / "photos"), weights=weights, output=output, score_threshold=middle,
        inference=CPU,
    )  # fmt: skip
    written = json.loads((output / "predictions.json").read_text())
    scores = [each["score"] for record in written for each in record["detections"]]
    assert 0 < len(scores) < len(everything) and min(scores) >= middle - 1e-5


def test_tiles_find_other_boxes_in_the_same_images(folder: Path) -> None:
    options: dict[str, Any] = {"weights": folder / "ours.pth"}
    whole, tiled = (detections(folder, **options, tile=tile) for tile in (None, 48))
    assert {each["file"] for each in tiled} == {each["file"] for each in whole}
    assert tiled != whole == detections(folder, **options, tile=1024, overlap=0.5)


@pytest.mark.parametrize(("options", "message"), [
    ({"overlap": 0.2}, "--overlap is of tiles; give their size in pixels, such as --tile 1024"),
    ({"tile": 0}, "tile is 0; give a whole number of pixels from 32"),
    ({"tile": 512, "overlap": 1.5}, "overlap is 1.5"),
])  # fmt: skip
def test_impossible_tiles_are_refused_before_loading(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        predict("a.jpg", weights="none.pth", output=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_unreadable_images_are_reported_last(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    words = [str(tmp_path), str(folder / "photos"), "--weights", str(folder / "ours.pth")]
    words += ["--output", str(tmp_path / "out"), "--device", "cpu"]
    with caplog.at_level(logging.INFO), pytest.raises(SystemExit) as exit:
        cli.app(["predict", *words], exit_on_error=False)
    assert exit.value.code == ExitCode.INCOMPLETE
    assert "broken.png" in caplog.text and "2 images written" in caplog.text
    assert "1 of 3 images could not be read" in caplog.messages[-1]
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 2


def test_overrides_follow_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "IMG_1.JPG").touch()
    pairs = ["TEST.AUG.ENABLED", "True", "VIS_PERIOD", "0"]
    images = ["a.jpg", "photos/", "*.png", "IMG_1.JPG", "../UP.JPG/b.png"]
    assert split_overrides([*images, *pairs]) == (images, pairs)
    assert split_overrides([Path("a.jpg")]) == (["a.jpg"], [])
    assert split_overrides(["MISSING_01.JPG"]) == (["MISSING_01.JPG"], [])  # no key


@pytest.mark.parametrize("words", [[], [""], ["TEST.AUG.ENABLED", "True"]])
def test_prediction_without_images_is_refused(tmp_path: Path, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"no image is given|images is empty"):
        predict(*words, weights=tmp_path / "model.pth", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("threshold", [30, -1, float("nan")])
def test_impossible_threshold_is_refused_first(tmp_path: Path, threshold: float) -> None:
    with pytest.raises(ValueError, match=r"--score-threshold is .*scores are in 0\.\.1"):
        predict("a.jpg", weights=tmp_path / "model.pth", score_threshold=threshold)


def test_earlier_results_stay_where_no_image_can_be_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions.json").write_text("[]")
    (tmp_path / "a.jpg").write_text("no image")
    (tmp_path / "empty").mkdir()
    for source, words in (("a.jpg", "no image could be read"), ("empty", "empty: no image found")):
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            predict(
                tmp_path / source, weights=folder / "ours.pth",
                output=tmp_path / "out", inference=CPU,
            )  # fmt: skip
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["predictions.json"]
    assert (tmp_path / "out" / "predictions.json").read_text() == "[]"


def test_folder_holds_the_pictures_of_one_run(folder: Path, tmp_path: Path) -> None:
    photos, output = sorted((folder / "photos").iterdir()), tmp_path / "out"
    for source in (folder / "photos", photos[1]):
        predict(source, weights=folder / "ours.pth", output=output, inference=CPU)
    (record,) = json.loads((output / "predictions.json").read_text())
    names = {path.name for path in output.iterdir()}
    assert record["file"] == str(photos[1])
    assert names == {"predictions.json", f"00000_{photos[1].stem}.png", "earlier_1"}
    (first, second) = json.loads((output / "earlier_1" / "predictions.json").read_text())
    assert [first["file"], second["file"]] == [str(each) for each in photos]
    for record in (first, second):
        assert (output / "earlier_1" / record["picture"]).is_file()


def test_own_pictures_are_not_predicted_again(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_photographs(tmp_path / "photos", count=1)
    options: dict[str, Any] = {"weights": folder / "ours.pth", "inference": CPU}
    for output in ("one", "two"):  # both below the folder of the images
        counts = predict(tmp_path, output=tmp_path / output, score_threshold=1.0, **options)
        assert counts == {"images": 1, "skipped": 0, "objects": 0}
    with caplog.at_level(logging.INFO):
        assert predict(tmp_path, output=tmp_path / "two", score_threshold=0, **options)["objects"]
    assert "objects at the score threshold 0" in caplog.text


def test_highest_score_if_nothing_is_found(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    highest = max(each["score"] for each in detections(folder, weights=folder / "ours.pth"))
    with caplog.at_level(logging.INFO):
        predict(
            folder / "photos", weights=folder / "ours.pth",
            output=folder / "none", score_threshold=1.0, inference=CPU,
        )  # fmt: skip
    assert f"no objects at the score threshold 1; the highest score is {highest:.3g}" in caplog.text


def test_name_that_is_not_utf8_is_written(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = write_photographs(tmp_path / "photos")
    (photos / "0.png").rename(photos / os.fsdecode(b"caf\xe9.png"))
    predict(photos, weights=folder / "ours.pth", output=tmp_path / "out", inference=CPU)
    records = json.loads((tmp_path / "out" / "predictions.json").read_text("utf-8"))
    assert sorted(Path(each["file"]).name for each in records) == ["1.png", r"caf\xe9.png"]
    assert "1 image with a name that is not UTF-8" in caplog.text


def test_unknown_keys_are_named(folder: Path) -> None:
    with pytest.raises(centernet2.ConfigError, match=r"TEST\.AUG\.ENABLE"):
        detections(folder, "TEST.AUG.ENABLE", "True", weights=folder / "ours.pth")


def test_overrides_without_effect_are_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    detections(
        folder, "SOLVER.BASE_LR", "1", "TEST.DETECTIONS_PER_IMAGE", "3", "TEST.IMS_PER_BATCH", "8",
        weights=folder / "ours.pth",
    )  # fmt: skip
    assert "predict does not read SOLVER.BASE_LR, TEST.IMS_PER_BATCH; leave that" in caplog.text
