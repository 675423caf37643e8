"""The command `explain`: text, JSON and a picture; points that it refuses."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import centernet2
from centernet2 import cli
from centernet2.jobs import InferenceOptions
from centernet2.jobs.explain import explain
from centernet2.structures import ModelInfo
from tests.helpers.colored_objects import ColorDetector
from tests.helpers.jobs import save_untrained, write_photographs

CPU = InferenceOptions(device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of 64 x 48 and 64 x 56 pixels, and a detector with its predictions."""
    folder = tmp_path_factory.mktemp("explain")
    write_photographs(folder / "photos")
    save_untrained(folder / "model.pth")
    return folder


def run(folder: Path, *, overrides: Sequence[str] = (), **options: Any) -> Any:
    photo = folder / "photos" / "0.png"
    return explain(photo, *overrides, weights=folder / "model.pth", inference=CPU, **options)


def test_files_and_text_say_the_same(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", str(folder / "photos" / "0.png"), "--at", "30.04,20.5", "--device", "cpu"]
    words += ["--weights", str(folder / "model.pth"), "--output", str(tmp_path / "out")]
    cli.app([*words, "--score-threshold", "0"], exit_on_error=False)
    text = capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert text.startswith(f"point (30, 20.5): {record['summary']}\n")
    assert record["image"].endswith("0.png") and record["point"] == [30.04, 20.5]
    assert [each["level"] for each in record["locations"]] == ["p3", "p4", "p5", "p6", "p7"]
    for location in record["locations"]:
        assert f"value {location['heat']:.4f}" in text
        assert (
            location["rank"] > location["num_candidates"] or f"rank {location['rank']} of" in text
        )
    for path in record["proposals"]:
        assert f"proposal {path['row']} of {record['num_proposals']}" in text
        assert len(path["stages"]) == 3 and all(
            sum(stage["probabilities"]) == pytest.approx(1, abs=1e-5) for stage in path["stages"]
        )
    with Image.open(tmp_path / "out" / "explanation.png") as picture:
        assert picture.size == (320, 240)
        assert picture.getpixel((150, 102)) == (255, 255, 255), "the cross at the point"
    cli.app(words, exit_on_error=False)  # replaces its own files


def test_recorded_prediction_is_explained_without_its_image(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = centernet2.load_predictor(folder / "model.pth", device="cpu")
    photo = tmp_path / "photo.png"
    photo.write_bytes((folder / "photos" / "0.png").read_bytes())
    plain, expected = predictor(photo), predictor.explain(photo, 10, 40)
    recorded, (listed,) = predictor(photo, record=True), predictor([photo], record=True)
    photo.unlink()
    monkeypatch.setattr(predictor.model, "run", None)  # it is not asked again
    for prediction in (recorded, listed, recorded[:1]):
        explanation = prediction.explain(10, 40)
        assert explanation.to_dict() == expected.to_dict()
        assert explanation.picture() == expected.picture()
    assert np.array_equal(recorded.boxes, plain.boxes) and set(recorded.columns) == set(
        plain.columns
    )
    with pytest.raises(ValueError, match=r"the point \(64, 0\) is outside of the image"):
        recorded.explain(64, 0)


def test_detections_are_those_of_a_prediction(folder: Path, tmp_path: Path) -> None:
    predictor = centernet2.load_predictor(folder / "model.pth", device="cpu")
    found = predictor(folder / "photos" / "0.png").to_detections()
    explanation = predictor.explain(folder / "photos" / "0.png", 10, 40)
    record = explanation.to_dict()
    boxes = torch.tensor([each["box"] for each in record["detections"]])
    limits = torch.tensor([64.0, 48, 64, 48])
    torch.testing.assert_close(boxes.clamp(min=0).minimum(limits), found["boxes"])
    assert [each["label"] for each in record["detections"]] == found["labels"].tolist()
    assert [each["class"] for each in record["detections"]] == [
        predictor.class_names[label] for label in found["labels"].tolist()
    ]
    behind = {step["detection"]: step for path in record["proposals"] for step in path["classes"]}
    for row, box in enumerate(found["boxes"].tolist()):
        if box[0] <= 10 <= box[2] and box[1] <= 40 <= box[3]:
            assert behind[row]["score"] == pytest.approx(float(found["scores"][row]))


def test_prediction_explains_its_image(folder: Path) -> None:
    predictor = centernet2.load_predictor(folder / "model.pth", device="cpu")
    photo = folder / "photos" / "0.png"
    (prediction,) = predictor([photo])  # without pixels: the file is read again
    expected = predictor.explain(photo, 30, 20).record
    assert prediction[:2].explain(30, 20).record == expected
    assert predictor(np.asarray(Image.open(photo))).explain(30, 20).record == expected
    copied = pickle.loads(pickle.dumps(prediction))
    with pytest.raises(AttributeError, match=r"use `Predictor\.explain`"):
        copied.explain(30, 20)
    assert np.array_equal(copied.boxes, prediction.boxes)


def test_threshold_tells_shown_detections(folder: Path) -> None:
    predictor = centernet2.load_predictor(folder / "model.pth", device="cpu")
    photo = folder / "photos" / "0.png"
    weak = predictor.explain(photo, 30, 20, score_threshold=1.0)
    steps = [step for path in weak.record.proposals for step in path.classes]
    assert any(step.detection is not None for step in steps)
    assert not any(map(weak.is_shown, steps)) and "behind a detection" not in weak.text()
    strong = predictor.explain(photo, 30, 20, score_threshold=0.0)
    assert any(map(strong.is_shown, steps))


def test_way_that_ends_in_the_first_stage_has_no_proposal(folder: Path, tmp_path: Path) -> None:
    overrides = ["MODEL.CENTERNET.INFERENCE_TH", "0.9"]
    explanation = run(folder, at="30,20", output=tmp_path / "out", overrides=overrides)
    record = explanation.to_dict()
    assert record["proposals"] == record["detections"] == ()
    value = max(each["heat"] for each in record["locations"])
    assert f"not above the score threshold: {value:.4g}, threshold 0.9" in explanation.summary()
    assert "proposal" not in explanation.text()
    assert explanation.picture().size == (320, 240)


def test_suppressor_is_followed_in_place_of_the_suppressed(folder: Path, tmp_path: Path) -> None:
    overrides = ["MODEL.CENTERNET.NMS_TH_TEST", "0.01"]
    predictor = centernet2.load_predictor(folder / "model.pth", overrides, device="cpu")
    photo = folder / "photos" / "0.png"
    points = [(x, y) for x in range(4, 64, 8) for y in range(4, 48, 8)]
    found = [predictor.explain(photo, x, y) for x, y in points]
    suppressed = [each for each in found if each.record.location.cut]
    assert suppressed
    for each in suppressed:
        rival = each.record.location.cut.by
        assert rival is not None and each.record.proposals[0].row == rival.row
        assert each.record.proposals[0].box == pytest.approx(rival.box)
        assert f"with proposal {rival.row}, score" in each.summary()
        assert "which is followed instead" in each.summary()
        assert each.picture().size == (320, 240)


@pytest.mark.parametrize("at", ["", "30", "30,20,10", "a,b", "-1,5", "1..2,3"])
def test_point_that_is_none_is_refused(folder: Path, tmp_path: Path, at: str) -> None:
    with pytest.raises(ValueError, match=rf"--at is '{at}'; give a point .* X,Y"):
        run(folder, at=at, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_point_outside_of_the_image_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\(64, 20\) is outside of the image of 64 x 48 pixels"):
        run(folder, at="64,20", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_predictors_are_refused() -> None:
    image = torch.zeros(3, 40, 50, dtype=torch.uint8)
    detector = ColorDetector()
    with pytest.raises(ValueError, match=r"TEST\.AUG\.ENABLED False"):
        centernet2.Predictor(detector).explain(image, 1, 1)
    with pytest.raises(ValueError, match="load the predictor without tiling"):
        centernet2.Predictor(detector, tiling=centernet2.Tiling(64)).explain(image, 1, 1)
    assert detector.info == ModelInfo()
