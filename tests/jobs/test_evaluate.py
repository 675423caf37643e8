"""Evaluation of a detector, a checkpoint or a results file."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import centernet2
from centernet2.jobs import InferenceOptions
from centernet2.jobs.evaluate import ClassMatching
from centernet2.threads import ThreadsByLoad
from tests.helpers.data import renumber
from tests.helpers.evaluation import write_noise_data
from tests.helpers.jobs import build_untrained, save_untrained, write_divided_run
from tests.helpers.training import write_blocks

KNOWN_ONLY = ClassMatching(known_classes_only=True)
CPU = InferenceOptions(device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of one class, and a checkpoint of an untrained detector for it."""
    folder = write_blocks(tmp_path_factory.mktemp("evaluate"))
    save_untrained(folder / "model.pth", ("block",))
    return folder


@pytest.mark.parametrize(
    "overrides",
    [[], ["TEST.AUG.ENABLED", "True", "TEST.AUG.MIN_SIZES", "(64, 96)"]],
    ids=["plain", "augmented"],
)
def test_detector_and_checkpoint_give_equal_detections(
    folder: Path, tmp_path: Path, overrides: list[str]
) -> None:
    detector = build_untrained(classes=1)
    centernet2.evaluate(detector, *overrides, data=folder, output_dir=tmp_path / "detector")
    centernet2.evaluate(
        folder / "model.pth", *overrides, data=folder, output_dir=tmp_path / "file", inference=CPU
    )
    one, other = (
        json.loads((tmp_path / name / "predictions.json").read_text())
        for name in ("detector", "file")
    )
    assert [x["score"] for x in one] == pytest.approx([x["score"] for x in other], abs=1e-4)
    assert len(one) > 0


def test_predictions_give_equal_metrics(folder: Path, tmp_path: Path) -> None:
    metrics = centernet2.evaluate(
        folder / "model.pth", data=folder, output_dir=tmp_path, inference=CPU
    )
    again = centernet2.evaluate(predictions=tmp_path / "predictions.json", data=folder)
    assert again == pytest.approx(metrics, abs=1e-6, nan_ok=True)


def test_threads_follow_the_load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look after each batch: loader workers may need the cores."""
    looks: list[ThreadsByLoad] = []
    monkeypatch.setattr(ThreadsByLoad, "update", lambda self: looks.append(self))
    options = ("TEST.IMS_PER_BATCH", "2")
    centernet2.evaluate(folder / "model.pth", *options, data=folder, inference=CPU)
    assert len(looks) == 2


def test_skipped_images_are_left_out_everywhere(tmp_path: Path) -> None:
    """In the metrics of the detector, of its results file, and in the report."""
    write_noise_data(tmp_path)
    (tmp_path / "images" / "4.png").write_bytes(b"no image")
    output = tmp_path / "eval"
    detector = build_untrained(classes=3)
    metrics = centernet2.evaluate(detector, data=tmp_path, report=output)
    assert metrics["images_skipped"] == 1
    (named,) = json.loads((output / "skipped.json").read_text())
    assert (named["image_id"], named["file_name"]) == (4, "4.png")
    for predictions in (output / "predictions.json", output, tmp_path):
        again = centernet2.evaluate(predictions=predictions, data=tmp_path)
        assert again == pytest.approx(metrics, nan_ok=True)
    (output / "skipped.json").unlink()
    missed = centernet2.evaluate(predictions=output / "predictions.json", data=tmp_path)
    assert "images_skipped" not in missed


def test_exactly_one_source_is_required(folder: Path) -> None:
    with pytest.raises(ValueError, match="give either --weights"):
        centernet2.evaluate(data=folder)
    with pytest.raises(ValueError, match="give either --weights"):
        centernet2.evaluate(folder / "model.pth", predictions="a.json", data=folder)


def test_detections_of_a_run_are_evaluated_on_its_validation_images(tmp_path: Path) -> None:
    data, run = write_divided_run(tmp_path)
    results = run / "eval" / "predictions.json"
    assert centernet2.evaluate(predictions=results, data=data)["bbox/AP"] == pytest.approx(100)
    key_and_value = ("DATASETS.VAL_FRACTION", "0.0")
    metrics = centernet2.evaluate(None, *key_and_value, predictions=results, data=data)
    assert metrics["bbox/AP"] < 60  # half of the objects are missed
    (run / "config.yaml").write_text("SOMETHING: else\n")  # of another program
    assert centernet2.evaluate(predictions=results, data=data) == pytest.approx(
        metrics, nan_ok=True
    )


def test_options_without_effect_are_refused(tmp_path: Path) -> None:
    data, run = write_divided_run(tmp_path)
    evaluate = partial(
        centernet2.evaluate, predictions=run / "eval" / "predictions.json", data=data
    )
    with pytest.raises(centernet2.ConfigError, match=r"DATASET\.TEST"):
        evaluate(None, "DATASET.TEST", "x")
    for options, name in (
        ({"resume": True}, "--resume"),
        ({"inference": InferenceOptions(dtype="bf16")}, "--dtype"),
        ({"inference": InferenceOptions(device="cpu")}, "--device"),
    ):
        with pytest.raises(ValueError, match=rf"--predictions runs no detector: {name} would"):
            evaluate(**options)
    with pytest.raises(ValueError, match=r"TEST\.AUG\.ENABLED would have no effect"):
        evaluate(None, "TEST.AUG.ENABLED", "True")
    with pytest.raises(ValueError, match=r"a Detector is evaluated as it is: --dtype would"):
        centernet2.evaluate(
            build_untrained(classes=1), data=data, inference=InferenceOptions(dtype="bf16")
        )


def test_data_sets_of_a_results_file_can_be_named(tmp_path: Path) -> None:
    data, run = write_divided_run(tmp_path)
    sets = f"('{data}@{tmp_path / 'images'}',)"
    results = run / "eval" / "predictions.json"
    metrics = centernet2.evaluate(None, "DATASETS.TEST", sets, predictions=results)
    assert 0 < metrics["bbox/AP"] < 60  # a data set by its name is not divided


def test_masks_alone_give_metrics_of_boxes_and_masks(tmp_path: Path) -> None:
    """Images are named by their files, and the masks are run lengths that are not compressed."""
    polygon = [5, 8, 17, 8, 17, 18, 5, 18]
    truth = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 40, "height": 30} for i in (7, 8)],
        "categories": [{"id": 3, "name": "block"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 3, "bbox": [5, 8, 12, 10], "area": 120,
             "iscrowd": 0, "segmentation": [polygon]}
            for i in (7, 8)
        ],
    }  # fmt: skip
    runs = [30 * 5 + 8, *[10, 20] * 11, 10, 30 * 23 + 12]  # the same box, column by column
    mask = {"size": [30, 40], "counts": runs}
    results = [
        {"image_id": f"{i}.png", "category_id": 3, "score": 0.5, "segmentation": mask}
        for i in (7, 8)
    ]
    for name, content in (("truth", truth), ("results", results)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    metrics = centernet2.evaluate(
        predictions=tmp_path / "results.json", data=tmp_path / "truth.json"
    )
    assert metrics["bbox/AP"] == metrics["segm/AP"] == pytest.approx(100)


CLASSES = ("class 0", "class 1", "class 2")


def found_by_name(folder: Path, output: Path) -> list[tuple[Any, ...]]:
    """Evaluate a detector of `CLASSES`; return (image, class name, score) of its detections."""
    weights = save_untrained(output / "model.pth", CLASSES)
    centernet2.evaluate(weights, data=folder, output_dir=output, inference=CPU)
    truth = json.loads((folder / "annotations" / "instances_val.json").read_text())
    names = {category["id"]: category["name"] for category in truth["categories"]}
    return [
        (each["image_id"], names[each["category_id"]], each["score"])
        for each in json.loads((output / "predictions.json").read_text())
    ]


def test_each_of_two_data_sets_has_its_detections(tmp_path: Path) -> None:
    """Evaluate images with the same ids twice; the second file numbers the classes otherwise."""
    write_noise_data(tmp_path)
    truth = tmp_path / "annotations" / "instances_val.json"
    content = json.loads(truth.read_text())
    ids = {"class 2": 1, "class 0": 5, "class 1": 9}
    (tmp_path / "one.json").write_text(json.dumps(content))
    (tmp_path / "two.json").write_text(json.dumps(renumber(content, ids)))
    sets = tuple(f"{tmp_path / name}.json@{tmp_path / 'images'}" for name in ("one", "two"))
    words = ("DATASETS.TEST", str(sets))
    weights, output = save_untrained(tmp_path / "model.pth", CLASSES), tmp_path / "out"
    metrics = centernet2.evaluate(weights, *words, output_dir=output, inference=CPU)
    assert sorted(path.name for path in output.iterdir()) == [
        "metrics.json", "one", "speed.json", "two",
    ]  # fmt: skip
    one, two = (
        json.loads((output / name / "predictions.json").read_text()) for name in ("one", "two")
    )
    assert len(one) > 0
    numbers = {i: ids[f"class {i}"] for i in range(3)}
    assert two == [{**each, "category_id": numbers[each["category_id"]]} for each in one]
    again = centernet2.evaluate(None, *words, predictions=output)
    assert again == pytest.approx(metrics, abs=0, nan_ok=True)
    with pytest.raises(ValueError, match=r"predictions\.json is one file for 2"):
        centernet2.evaluate(None, *words, predictions=output / "one" / "predictions.json")


def test_unknown_classes_are_missed_or_left_out(tmp_path: Path) -> None:
    write_noise_data(tmp_path)
    weights = save_untrained(tmp_path / "model.pth", ("class 1", "class 0"))
    evaluate = partial(
        centernet2.evaluate, weights, data=tmp_path, output_dir=tmp_path / "out", inference=CPU
    )
    metrics = evaluate()
    assert metrics["bbox/AP/class 2"] == 0
    (note,) = json.loads((tmp_path / "out" / "notes.json").read_text())
    assert "lacks 1 class of" in note and "class 2; their 4 objects count as missed" in note
    known = evaluate(classes=KNOWN_ONLY)
    assert known["bbox/AP"] == pytest.approx(1.5 * metrics["bbox/AP"])
    assert "bbox/AP/class 2" not in known
    with pytest.raises(ValueError, match="--known-classes-only would have no effect"):
        centernet2.evaluate(predictions=tmp_path / "a.json", data=tmp_path, classes=KNOWN_ONLY)


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    write_noise_data(tmp_path)
    first = found_by_name(tmp_path, tmp_path / "first")
    truth = tmp_path / "annotations" / "instances_val.json"
    ids = {"class 2": 1, "class 0": 5, "class 1": 9}
    truth.write_text(json.dumps(renumber(json.loads(truth.read_text()), ids)))
    assert found_by_name(tmp_path, tmp_path / "second") == first and len(first) > 0
    truth.write_text(json.dumps(renumber(json.loads(truth.read_text()), {"class 2": 1})))
    third = found_by_name(tmp_path, tmp_path / "third")
    assert third == [each for each in first if each[1] == "class 2"] and len(third) > 0
    (note,) = json.loads((tmp_path / "third" / "notes.json").read_text())
    assert "lacks 2 classes of the detector: class 0, class 1" in note


def test_classes_without_names_are_counted(folder: Path) -> None:
    with pytest.raises(
        centernet2.ConfigError, match=r"2 classes without names, but .* has 1 \(block\)"
    ):
        centernet2.evaluate(build_untrained(classes=2), data=folder)
