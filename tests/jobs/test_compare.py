"""Comparison of two detectors whose detections are on disk."""

import json
from pathlib import Path

import pytest
from PIL import Image

from centernet2 import cli, printing
from centernet2.jobs.compare import compare
from tests.helpers.jobs import save_untrained, write_divided_run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder in ("images", "annotations"):
        (tmp_path / folder).mkdir()
    boxes = [[10, 10, 30, 30], [50, 50, 30, 30]]
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 100, "width": 100} for i in (1, 2)],
        "categories": [{"id": 3, "name": "cat [a]"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 3, "bbox": box, "area": 900, "iscrowd": 0}
            for i, box in enumerate(boxes, 1)
        ],
    }
    (tmp_path / "annotations" / "instances_val.json").write_text(json.dumps(content))
    detections = [
        {"image_id": i, "category_id": 3, "bbox": box, "score": 0.9}
        for i, box in enumerate(boxes, 1)
    ]
    (tmp_path / "good.json").write_text(json.dumps(detections))
    (tmp_path / "run" / "eval").mkdir(parents=True)
    (tmp_path / "run" / "eval" / "predictions.json").write_text(json.dumps(detections[:1]))
    return tmp_path


def test_results_file_against_training_folder(data: Path) -> None:
    output = data / "new" / "compare.json"
    result = compare(data / "run", data / "good.json", data=data, samples=20, output=output)
    differences = result.differences
    assert differences["AP"].second == pytest.approx(100) and 50 < differences["AP50"].first < 51
    assert json.loads(output.read_text())["metrics"]["AP/cat [a]"]["second"] == pytest.approx(100)


def test_wrong_sources_are_named(data: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"images has no predictions\.json"):
        compare(data / "images", data / "good.json", data=data)
    with pytest.raises(ValueError, match="samples is 0; it takes a whole number from 1"):
        compare(data / "run", data / "good.json", data=data, samples=0)
    with pytest.raises(ValueError, match=r"there is no weights file .*nothing\.pth"):
        compare(data / "nothing.pth", data / "good.json", data=data)
    with pytest.raises(ValueError, match="no detector runs: --device would have no effect"):
        compare(data / "run", data / "good.json", data=data, device="cpu")


def test_runs_are_compared_on_their_validation_images(tmp_path: Path) -> None:
    undivided, run = write_divided_run(tmp_path)
    whole = tmp_path / "all.json"  # without a config, and with fewer detections
    whole.write_text(json.dumps(json.loads((run / "eval" / "predictions.json").read_text())[:1]))
    for first, second in ((run, whole), (whole, run / "eval")):
        result = compare(first, second, data=undivided, samples=5)
        aps = sorted(result.differences["AP"][:2])
        assert aps[0] < 60 and aps[1] == pytest.approx(100)


def test_run_without_an_evaluation_is_evaluated(data: Path, tmp_path: Path) -> None:
    weights = save_untrained(tmp_path / "other" / "model_final.pth", ("cat [a]",))
    for name in ("1.jpg", "2.jpg"):
        Image.new("RGB", (100, 100)).save(data / "images" / name)
    of_file, of_folder = (
        compare(each, data / "good.json", data=data, samples=5, device="cpu").differences
        for each in (weights, weights.parent)
    )
    assert of_file == of_folder


def test_detector_of_other_classes_is_refused(data: Path, tmp_path: Path) -> None:
    weights = save_untrained(tmp_path / "model.pth", ("dog", "bee"))
    with pytest.raises(
        ValueError, match=r"1 class \(cat \[a\]\), and .*model\.pth has 2 classes \(dog, "
    ):
        compare(weights, data / "good.json", data=data, samples=5, device="cpu")


@pytest.mark.parametrize("command", ["compare", "eval"])
def test_tables_show_brackets_in_class_names(
    command: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = str(data / "good.json")
    words = [str(data / "run"), results, "--samples", "5"]
    if command == "eval":
        words = ["--predictions", results]
    cli.app([command, *words, "--data", str(data)], exit_on_error=False)
    shown = capsys.readouterr().out
    assert "AP50" in shown and "cat [a]" in shown and "\\" not in shown


def test_images_that_either_side_has_skipped_are_left_out_of_both(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = json.loads((data / "good.json").read_text())
    lines = data / "good.txt"
    lines.write_text("\n".join(map(json.dumps, good)))
    skipped = [{"image_id": 2, "file_name": "2.jpg", "reason": "truncated"}]
    (data / "run" / "eval" / "skipped.json").write_text(json.dumps(skipped))
    result = compare(data / "run", lines, data=data, samples=5)
    assert result.differences["AP"][:2] == pytest.approx((100, 100)) and result.skipped == 1
    assert "1 of 2 images are skipped on either side" in caplog.text
    with pytest.raises(SystemExit) as exit_code:
        printing.print_comparison(result)
    assert exit_code.value.code == 1
