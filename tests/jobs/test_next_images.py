"""The images to label next, and labels of them to correct."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from centernet2.checkpoint import load_checkpoint, save_checkpoint
from centernet2.cli import app
from centernet2.data.readers import load_dataset
from centernet2.jobs.next_images import next_images
from centernet2.predict.label_regions import RECTANGLES
from tests.helpers.jobs import save_untrained, save_without_names, write_photographs


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_untrained(tmp_path_factory.mktemp("detector") / "model.pth")


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return write_photographs(tmp_path / "pool", 4)


def test_chosen_images_are_listed_drawn_and_labeled(
    detector: Path, pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "next"
    words = ["--weights", str(detector), "--count", "3", "--output", str(output)]
    for _ in range(2):  # it replaces its own files
        app(["next", str(pool), *words, "--device", "cpu"], exit_on_error=False)
    shown = capsys.readouterr().out.splitlines()[-3:]
    paths = (output / "images.txt").read_text().splitlines()[1:]
    reasons = json.loads((output / "images.json").read_text())["images"]
    assert [each["file"] for each in reasons] == paths and len(set(paths)) == 3
    lines = [f"{n}  {row['file']}: {row['reason']}" for n, row in enumerate(reasons, start=1)]
    assert shown == lines
    assert Image.open(output / "images_1.jpg").size[0] > 900
    tasks = json.loads((output / "label_studio.json").read_text())
    names = [Path(path).name for path in paths]
    assert [x["data"]["image"] for x in tasks] == [f"/data/local-files/?d={name}" for name in names]
    coco = json.loads((output / "coco.json").read_text())
    assert [each["file_name"] for each in coco["images"]] == names


def test_labels_are_the_detections_of_a_page(detector: Path, pool: Path, tmp_path: Path) -> None:
    output = tmp_path / "next"
    shown, checkpoint = tmp_path / "shown.pth", load_checkpoint(detector)
    info = replace(checkpoint.info, score_thresholds=(0.0, 1.0))
    save_checkpoint(shown, replace(checkpoint, info=info))
    next_images(pool, weights=shown, count=2, output=output, device="cpu")
    coco = json.loads((output / "coco.json").read_text())
    assert {each["category_id"] for each in coco["annotations"]} == {1}
    tasks = json.loads((output / "label_studio.json").read_text())
    regions = [each for task in tasks for each in task["predictions"][0]["result"]]
    assert len(regions) == len(coco["annotations"]) > 0
    assert all(each["value"]["rectanglelabels"] == ["cat"] for each in regions)
    dataset = load_dataset(
        data=None, data_path=None, names=(f"{output / 'coco.json'}@{pool}",), split="train"
    )
    assert dataset.class_names == ("cat", "dog") and len(dataset) == 2


def test_label_studio_understands_its_config(detector: Path, pool: Path, tmp_path: Path) -> None:
    serving = pytest.importorskip("centernet2.serve.label_studio", reason="needs fastapi")
    output = tmp_path / "next"
    next_images(pool, weights=detector, count=1, output=output, device="cpu")
    (config,) = serving.parse_label_config((output / "label_config.xml").read_text())
    assert config.kind == RECTANGLES and config.labels == {"cat": "cat", "dog": "dog"}
    assert config.key == "image"


def test_impossible_inputs_are_refused(detector: Path, pool: Path, tmp_path: Path) -> None:
    nameless = save_without_names(tmp_path / "nameless.pth", detector)
    (tmp_path / "empty").mkdir()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "a.png").write_text("no image")
    for folder, weights, error, words in (
        (pool / "0.png", detector, ValueError, r"0\.png is no folder"),
        (tmp_path / "empty", detector, FileNotFoundError, "no image found"),
        (damaged, detector, ValueError, "no image can be read; nothing is written"),
        (pool, nameless, ValueError, "has no class names"),
    ):
        with pytest.raises(error, match=words):
            next_images(folder, weights=weights, output=tmp_path / "next", device="cpu")
    with pytest.raises(ValueError, match="count is 0"):
        next_images(pool, weights=detector, count=0)
    assert not (tmp_path / "next").exists()


def test_images_that_cannot_be_read_are_skipped(detector: Path, pool: Path, tmp_path: Path) -> None:
    (pool / "broken.png").write_text("no image")
    found = next_images(pool, weights=detector, output=tmp_path / "next", device="cpu")
    assert found.skipped == 1 and len(found.chosen) == 4
