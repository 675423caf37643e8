"""Thresholds per class: chosen, stored in the checkpoint, used by the predictor."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import centernet2
from centernet2 import cli
from centernet2.checkpoint import load_checkpoint
from centernet2.evaluation.curves import choose_threshold, curve_of
from centernet2.jobs import InferenceOptions
from centernet2.jobs.threshold import threshold
from centernet2.report.tables import thresholds_table
from tests.helpers.data import renumber
from tests.helpers.jobs import save_untrained, write_divided_run
from tests.helpers.training import write_blocks

BOX = [10, 10, 40, 40]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a checkpoint, data, and detections of cats, right at 0.9 and 0.3 only."""
    for name in ("images", "annotations"):
        (tmp_path / name).mkdir()
    box = {"category_id": 1, "bbox": BOX, "area": 1600, "iscrowd": 0}
    annotations = [{"id": i, "image_id": i, **box} for i in (1, 2)]
    images = [{"id": i, "file_name": f"{i}.jpg", "height": 100, "width": 100} for i in (1, 2, 3)]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "annotations" / "instances_val.json").write_text(json.dumps(content))
    found = {"category_id": 1, "bbox": BOX}
    detections = [{"image_id": i, **found, "score": s} for i, s in ((1, 0.9), (3, 0.6), (2, 0.3))]
    (tmp_path / "predictions.json").write_text(json.dumps(detections))
    save_untrained(tmp_path / "model.pth")
    return tmp_path


@pytest.mark.parametrize(("wanted", "expected"), [
    ({"precision": 0.9}, 0.9), ({"precision": 0.6}, 0.3), ({"recall": 0.5}, 0.9),
    ({"recall": 0.9}, 0.3), ({}, 0.3),
])  # fmt: skip
def test_thresholds_are_chosen_and_stored(
    folder: Path, wanted: dict[str, float], expected: float
) -> None:
    output = folder / "new" / "model.pth"
    chosen = threshold(
        folder / "model.pth",
        data=folder,
        predictions=folder / "predictions.json",
        output=output,
        **wanted,
    ).by_class
    assert chosen["cat"].threshold == expected and chosen["cat"].reached
    assert chosen["dog"].point is None
    assert chosen["dog"].threshold == 0.3  # the best threshold of all classes together
    assert load_checkpoint(output).info.score_thresholds == (expected, 0.3)
    assert centernet2.load_model(output).info.score_thresholds == (expected, 0.3)
    assert centernet2.load_model(folder / "model.pth").info.score_thresholds == ()


def test_predictor_applies_thresholds_per_class(folder: Path) -> None:
    predictor = centernet2.load_predictor(folder / "model.pth", device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    everything = predictor(image)
    least = [1.0, float(np.median(everything.scores[everything.labels == 1]))]
    kept = predictor(image, score_threshold=least)
    assert (kept.labels == 1).all()
    above = (everything.labels == 1) & (everything.scores >= least[1])
    assert 0 < len(kept.scores) == above.sum()


def test_unreachable_precision_or_recall() -> None:
    curve = curve_of(np.array([0.9, 0.8, 0.7]), np.array([False, True, True]), 4)
    precise = choose_threshold(curve, precision=0.9, recall=None, otherwise=0.5)
    complete = choose_threshold(curve, precision=None, recall=0.9, otherwise=0.5)
    assert (precise.threshold, complete.threshold, precise.reached, complete.reached) == (
        0.7, 0.7, False, False,
    )  # fmt: skip
    assert (precise.goal, complete.goal) == ("precision 90 %", "recall 90 %")
    console = Console(width=130, record=True, file=io.StringIO())
    console.print(thresholds_table({"cat": precise}))
    table = console.export_text()
    assert "66.7 %" in table and "precision 90 % not reached: the nearest" in table


def test_goal_that_is_not_reached_is_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    predictions = folder / "predictions.json"
    records = json.loads(predictions.read_text())
    predictions.write_text(json.dumps(records[1:]))  # the wrong one has the highest score
    threshold(folder / "model.pth", data=folder, predictions=predictions, precision=0.9)
    assert "precision 90 % is not reached by 1 of 2 classes" in caplog.text
    assert caplog.messages[-1].endswith("stored: cat")


@pytest.mark.parametrize("name", ["new.txt", "new.onnx", "new.safetensors"])
def test_checkpoint_has_a_name_that_is_read(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match="has no name of a checkpoint"):
        threshold(folder / "model.pth", data=folder, output=folder / name)


def test_class_without_detections_is_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    predictions = folder / "predictions.json"
    predictions.write_text(json.dumps(json.loads(predictions.read_text())[1:2]))
    threshold(folder / "model.pth", data=folder, predictions=predictions)
    assert "1 of 2 classes have no right detection at IoU 0.5" in caplog.text
    assert caplog.messages[-1].endswith("say nothing: cat")


def test_undivided_data_are_divided_as_in_training(tmp_path: Path) -> None:
    data, run = write_divided_run(tmp_path)
    weights = save_untrained(tmp_path / "model.pth", ("block",), "DATASETS.VAL_FRACTION", "0.5")
    chosen = threshold(weights, data=data, predictions=run / "eval" / "predictions.json")
    point = chosen.by_class["block"].point
    assert point is not None and (point.precision, point.recall) == (1, 1)


def test_thresholds_belong_to_classes_of_the_checkpoint(folder: Path) -> None:
    path = folder / "annotations" / "instances_val.json"
    options = {"data": folder, "predictions": folder / "predictions.json", "precision": 0.9}
    content = renumber(json.loads(path.read_text()), {"dog": 1, "cat": 2})
    path.write_text(json.dumps(content))
    detections = json.loads((folder / "predictions.json").read_text())
    detections = [{**each, "category_id": 2} for each in detections]
    (folder / "predictions.json").write_text(json.dumps(detections))
    assert threshold(folder / "model.pth", **options).by_class["cat"].threshold == 0.9
    path.write_text(json.dumps(renumber(content, {"cat": 2})))
    chosen = threshold(folder / "model.pth", **options).by_class
    assert chosen["cat"].threshold == 0.9 and chosen["dog"].point is None
    content["categories"] = [{"id": 2, "name": "bee"}]
    content["annotations"] = [{**each, "category_id": 2} for each in content["annotations"]]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"has 1 class \(bee\), and .*model\.pth has 2 classes"):
        threshold(folder / "model.pth", **options)


def test_wrong_options_are_named(folder: Path) -> None:
    options = {"data": folder, "predictions": folder / "predictions.json"}
    with pytest.raises(ValueError, match="exclude each other"):
        threshold(folder / "model.pth", precision=0.5, recall=0.5, **options)
    with pytest.raises(ValueError, match=r"--recall is 90; give a number .* up to 1: 0.9 is 90 %"):
        threshold(folder / "model.pth", recall=90, **options)
    with pytest.raises(ValueError, match="--device would have no effect"):
        threshold(folder / "model.pth", device="cpu", **options)
    (folder / "predictions.json").write_text("[]")
    with pytest.raises(ValueError, match="has no detections on"):
        threshold(folder / "model.pth", **options)


def test_thresholds_of_lvis_use_its_detection_limit(folder: Path) -> None:
    count = 150  # more than COCO's 100, fewer than LVIS's 300
    path = folder / "annotations" / "instances_val.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        image |= {"neg_category_ids": [2], "not_exhaustive_category_ids": []}
    for category in content["categories"]:
        category["frequency"] = "f"
    boxes = [[6 * (i % 15), 6 * (i // 15), 5, 5] for i in range(count)]
    content["annotations"] = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": box, "area": 25, "iscrowd": 0}
        for i, box in enumerate(boxes, 1)
    ]
    path.write_text(json.dumps(content))
    scores = np.linspace(0.9, 0.3, count).round(4).tolist()
    detections = [
        {"image_id": 1, "category_id": 1, "bbox": box, "score": score}
        for box, score in zip(boxes, scores, strict=True)
    ]
    (folder / "predictions.json").write_text(json.dumps(detections))
    chosen = threshold(folder / "model.pth", data=folder, predictions=folder / "predictions.json")
    assert chosen.by_class["cat"].threshold == pytest.approx(0.3)


def test_skipped_images_are_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Image 2 is skipped, so that its object is not missed; the results are JSON lines."""
    records = json.loads((folder / "predictions.json").read_text())[:2]
    lines = folder / "run" / "found.jsonl"
    lines.parent.mkdir()
    lines.write_text("\n".join(map(json.dumps, records)), encoding="utf-16")
    words = [str(folder / "model.pth"), "--data", str(folder), "--predictions", str(lines)]
    cli.app(["threshold", *words], exit_on_error=False)
    assert "50.0 %" in capsys.readouterr().out
    skipped = [{"image_id": 2, "file_name": "2.jpg", "reason": "truncated"}]
    (lines.parent / "skipped.json").write_text(json.dumps(skipped))
    with pytest.raises(SystemExit) as exit_code:
        cli.app(["threshold", *words], exit_on_error=False)
    assert exit_code.value.code == 1
    assert "50.0 %" not in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"model\.pth is not a COCO results file"):
        threshold(folder / "model.pth", data=folder, predictions=folder / "model.pth")


def test_checkpoint_calibrates_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_blocks(tmp_path / "data")
    weights, calibrated = save_untrained(tmp_path / "model.pth", ("block",)), tmp_path / "new.pth"
    words = ["threshold", str(weights), "--data", str(data), "--output", str(calibrated)]
    cli.app(words, exit_on_error=False)
    assert "expected calibration error" in capsys.readouterr().out
    stored = load_checkpoint(calibrated).info.calibration
    assert stored is not None and len(stored.temperatures) == len(stored.offsets) == 1
    before, after = (
        centernet2.evaluate(path, data=data, inference=InferenceOptions(device="cpu"))
        for path in (weights, calibrated)
    )
    assert after == pytest.approx(before, nan_ok=True)  # the order within a class is the same
    image = data / "images" / "1.png"
    plain, probable = (
        centernet2.load_predictor(path, device="cpu")(image) for path in (weights, calibrated)
    )
    assert not np.allclose(plain.scores, probable.scores)
    np.testing.assert_allclose(probable.boxes, plain.boxes)
    np.testing.assert_allclose(
        probable.objectness * probable.class_probability, probable.scores, rtol=1e-5
    )
    threshold(calibrated, data=data)  # it calibrates the scores of the network again
    assert load_checkpoint(calibrated).info.calibration == stored
    with pytest.raises(ValueError, match=r"has calibrated scores, .* hold those of before"):
        threshold(calibrated, data=data, predictions=tmp_path / "predictions.json")
