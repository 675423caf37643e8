"""Classes of the data that --class-map renames, in all commands that load data."""

import json
from pathlib import Path

import pytest

import centernet2
from centernet2.builders.detector.loading import config_of
from centernet2.checkpoint import load_checkpoint
from centernet2.cli import app
from centernet2.files import write_json
from centernet2.jobs.compare import compare
from centernet2.jobs.convert import convert
from centernet2.jobs.evaluate import ClassMatching
from centernet2.jobs.pseudo_label import pseudo_label
from centernet2.jobs.show import show
from centernet2.jobs.threshold import threshold
from centernet2.jobs.train import TrainMode
from tests.helpers.jobs import save_untrained
from tests.helpers.training import SMALL, TINY, write_blocks

BOTH = {"block": "thing", "brick": "thing"}


@pytest.fixture
def bricks(tmp_path: Path) -> Path:
    """Four images with a block or, in the last one, a brick."""
    folder = write_blocks(tmp_path)
    for path in (folder / "annotations").iterdir():
        content = json.loads(path.read_text())
        content["categories"].append({"id": 9, "name": "brick"})
        content["annotations"][-1]["category_id"] = 9
        path.write_text(json.dumps(content))
    return folder


def rename_in(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(f'"{old}"', f'"{new}"'))


@pytest.mark.slow
def test_run_remembers_its_map(bricks: Path, tmp_path: Path) -> None:
    """The validation set has but one of the old names, and the new one."""
    rename_in(bricks / "annotations" / "instances_val.json", "block", "thing")
    output = tmp_path / "run"
    metrics = centernet2.train(
        SMALL, *TINY, "SOLVER.MAX_ITER", "1",
        data=bricks, output_dir=output, device="cpu", mode=TrainMode(class_map=BOTH),
    )  # fmt: skip
    assert isinstance(metrics, dict) and "bbox/AP/thing" in metrics
    checkpoint = load_checkpoint(output / "model_final.pth")
    assert checkpoint.info.class_names == ("thing",)
    assert config_of(checkpoint.info).datasets.class_map == ("block=thing", "brick=thing")
    again = centernet2.evaluate(output, data=bricks)
    assert again["bbox/AP"] == pytest.approx(metrics["bbox/AP"])
    centernet2.train(SMALL, output_dir=output, device="cpu", resume=True)
    differences = compare(output, output, data=bricks, samples=1).differences
    assert differences["AP/thing"].first == differences["AP/thing"].second


def test_class_that_neither_split_has_is_refused(bricks: Path, tmp_path: Path) -> None:
    with pytest.raises(centernet2.ConfigError, match=r"train and .*_val has no .* mean 'brick'\?"):
        centernet2.train(
            SMALL, *TINY, data=bricks, output_dir=tmp_path / "run", device="cpu",
            mode=TrainMode(class_map="bric=thing"),
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_results_are_joined_by_old_ids_and_names(bricks: Path, tmp_path: Path) -> None:
    truth = json.loads((bricks / "annotations" / "instances_val.json").read_text())
    names = {each["id"]: each["name"] for each in truth["categories"]}
    detections = [{**each, "score": 0.9} for each in truth["annotations"]]
    named = [{**each, "category_name": names[each["category_id"]]} for each in detections]
    for records in (detections, named):
        write_json(tmp_path / "results.json", records)
        metrics = centernet2.evaluate(
            predictions=tmp_path / "results.json", data=bricks, classes=ClassMatching(BOTH)
        )
        assert metrics["bbox/AP/thing"] == pytest.approx(100)


def test_detector_is_joined_by_hand(bricks: Path, tmp_path: Path) -> None:
    weights = save_untrained(tmp_path / "model.pth", ("thing",))
    with pytest.raises(ValueError, match=r"no name is in both; .* --class-map OLD=NEW"):
        centernet2.evaluate(weights, data=bricks)
    words = ["DATASETS.CLASS_MAP", "('block=thing', 'brick=thing')"]
    assert "bbox/AP/thing" in centernet2.evaluate(weights, *words, data=bricks)
    metrics = centernet2.evaluate(weights, data=bricks, classes=ClassMatching(BOTH))
    assert "bbox/AP/thing" in metrics
    chosen = threshold(weights, data=bricks, class_map=BOTH, device="cpu")
    assert set(chosen.by_class) == {"thing"}


def test_other_commands_rename(bricks: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    pairs = ["--class-map", "block=thing", "--class-map", "brick=thing"]
    fixed = outside / "fixed.json"
    with pytest.raises(SystemExit):  # the images are in both splits
        app(["check", str(bricks), "--no-report", "--fix", str(fixed), *pairs], exit_on_error=False)
    categories = json.loads((outside / "fixed_train.json").read_text())["categories"]
    assert categories == [{"id": 7, "name": "thing"}]
    convert(bricks, outside / "yolo", to="yolo", class_map=BOTH)
    assert "0: thing\n" in (outside / "yolo" / "data.yaml").read_text()
    show(bricks, output=outside / "show.jpg", class_map=BOTH)
    lost = {"class_map": {"lost": "thing"}}
    for command in (
        lambda: app(["check", str(bricks), "--no-report", "--class-map", "lost=thing"]),
        lambda: convert(bricks, outside / "voc", to="voc", **lost),
        lambda: show(bricks, output=outside / "other.jpg", **lost),
    ):
        with pytest.raises(ValueError, match=r"no class 'lost'; it has 2 classes \(block, brick\)"):
            command()
    assert not (outside / "voc").exists() and not (outside / "other.jpg").exists()


def test_teacher_labels_with_the_names_of_the_student(bricks: Path, tmp_path: Path) -> None:
    weights, output = save_untrained(tmp_path / "model.pth", ("cat", "dog")), tmp_path / "new.json"
    label = {"weights": weights, "images": bricks / "images", "output": output, "device": "cpu"}
    counts = pseudo_label(**label, score=0.0, class_map={"cat": "animal", "dog": "animal"}).boxes
    content = json.loads(output.read_text())
    assert content["categories"] == [{"id": 1, "name": "animal"}]
    assert counts == {"animal": len(content["annotations"])} and counts["animal"] > 0
    with pytest.raises(ValueError, match=r"model\.pth has no class 'cow'"):
        pseudo_label(**label, class_map="cow=animal")
