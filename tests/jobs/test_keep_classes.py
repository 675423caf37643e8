"""`centernet2 train --keep-classes` and `--partial-labels`."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import centernet2
from centernet2.builders.detector.loading import config_of
from centernet2.builders.training import kept_classes
from centernet2.builders.training.kept_classes import label_kept_classes
from centernet2.builders.training.train_command import given_command
from centernet2.builders.training.training_data import find_training_data
from centernet2.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from centernet2.cli import app, ending
from centernet2.data.annotation_masks import POLYGONS
from centernet2.jobs.train import TrainMode
from tests.helpers.jobs import build_untrained, save_untrained
from tests.helpers.training import SMALL, TINY, write_blocks

OLD = ("dog", "cat")
SEEN = ["MODEL.CENTERNET.INFERENCE_TH", "0.0", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"]
HEADS = [f"roi_heads.stages.{k}.cls_score.weight" for k in range(3)]
KEEP = TrainMode(keep_classes=True)
MASKS = ["MODEL.MASK_ON", "True"]
PREDICTOR = "roi_heads.mask_branch.head.predictor.weight"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return save_untrained(tmp_path / "old.pth", OLD, *SEEN)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return write_blocks(tmp_path / "new", "block", "cat")


def train(data: Path, output: Path, *options: str, **arguments: object) -> dict[str, float]:
    arguments = {"mode": KEEP, "seed": 3, **arguments}
    sets = [option for option in options if Path(option).is_dir()]
    rest = [option for option in options if option not in sets]
    metrics = centernet2.train(
        SMALL, data, *sets, *TINY, *rest, output_dir=output, device="cpu", **arguments
    )  # type: ignore[arg-type]
    assert isinstance(metrics, dict)
    return metrics


def test_old_rows_are_copied_by_name_and_new_ones_appended(
    old: Path, new: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The new data have cat, too, but not dog. The learning rate is too small to change weights."""
    output = tmp_path / "run"
    metrics = train(new, output, "SOLVER.BASE_LR", "1e-30", "SOLVER.MAX_ITER", "1", weights=old)
    saved, before = load_checkpoint(output), load_checkpoint(old).weights
    assert saved.info.class_names == ("dog", "cat", "block")
    for name in HEADS:
        after = saved.weights[name]
        assert torch.equal(after[[0, 1, 3]], before[name])  # the last one is the background
        assert not torch.equal(after[2], before[name][0])
    assert "lacks 1 class of" in caplog.text and "dog; their detections are left out" in caplog.text
    assert "bbox/AP/block" in metrics and "bbox/AP/dog" not in metrics
    notes = json.loads((output / "eval" / "notes.json").read_text())
    assert any("dog" in note for note in notes)


def test_resumed_run_keeps_the_classes(old: Path, new: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(new, whole, "DATASETS.KEPT_SCORES", "(0.0, 0.1)", weights=old)
    train(new, parts, "DATASETS.KEPT_SCORES", "(0.0, 0.1)", "SOLVER.TRAIN_ITER", "2", weights=old)
    (parts / "model_final.pth").unlink()
    centernet2.train(SMALL, "SOLVER.TRAIN_ITER", "-1", output_dir=parts, device="cpu", resume=True)
    first, second = load_checkpoint(whole), load_checkpoint(parts)
    assert second.info.class_names == ("dog", "cat", "block") and second.iteration == 4
    assert config_of(second.info).datasets.kept_classes == OLD
    assert all(torch.equal(value, second.weights[name]) for name, value in first.weights.items())
    with pytest.raises(centernet2.ConfigError, match=r"DATASETS\.KEPT_CLASSES"):
        train(new, parts, "DATASETS.KEPT_CLASSES", "('dog',)", resume=True, mode=TrainMode())


def test_old_detector_labels_the_classes_that_the_data_do_not(
    old: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block of image 0 is at (10, 8), 24 x 20; columns: image, box, score, label."""
    config = centernet2.load_config(SMALL, [*TINY, "DATASETS.KEPT_CLASSES", str(OLD)])
    train_set, _ = find_training_data(config, new, None)
    command = given_command(config, {}, data=new, data_path=None, weights=old, device="cpu")
    dog, cat = 0, 1
    detections = [
        [0, 40, 40, 20, 20, 0.9, dog],  # an object
        [0, 41, 40, 20, 20, 0.8, dog],  # the same one
        [0, 10, 9, 24, 20, 0.9, dog],  # on the labelled block
        [1, 40, 2, 20, 20, 0.3, dog],  # uncertain
        [1, 2, 40, 20, 20, 0.1, dog],  # neither
        [2, 40, 40, 20, 20, 0.9, cat],  # of a class that the data label
    ]
    monkeypatch.setattr(
        kept_classes, "_detect", lambda *_: (np.array(detections, dtype=float), None)
    )
    labelled = label_kept_classes(train_set, config, command)
    assert np.diff(labelled.offsets).tolist() == [2, 2, 1, 1]
    assert labelled.labels[:4].tolist() == [2, dog, 2, dog]
    assert labelled.crowd[:4].tolist() == [False, False, False, True]
    assert not labelled.target(0)["unknown"].any()
    nothing = config.replace({"DATASETS.KEPT_SCORES": (1.0, 1.0)})
    target = label_kept_classes(train_set, nothing, command).target(0)
    assert target["unknown"].tolist() == [True, False, False] and len(target["labels"]) == 1


def test_detections_have_the_labels_of_the_data(old: Path, new: Path) -> None:
    options = [*TINY, "DATASETS.KEPT_CLASSES", str(OLD), "DATASETS.KEPT_SCORES", "(0.0, 0.0)"]
    config = centernet2.load_config(SMALL, options)
    train_set, _ = find_training_data(config, new, None)
    command = given_command(config, {}, data=new, data_path=None, weights=old, device="cpu")
    labelled = label_kept_classes(train_set, config, command)
    assert len(labelled.labels) > 4 and set(labelled.labels.tolist()) == {0, 2}


def add_masks(data: Path) -> None:
    """Give each block of a data set the mask of its box."""
    for path in (data / "annotations").iterdir():
        content = json.loads(path.read_text())
        for each in content["annotations"]:
            x, y, w, h = each["bbox"]
            each["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        path.write_text(json.dumps(content))


def test_masks_of_kept_classes_are_those_of_the_old_detector(new: Path, tmp_path: Path) -> None:
    old = save_untrained(tmp_path / "masks.pth", OLD, *SEEN, *MASKS)
    add_masks(new)
    options = ["DATASETS.KEPT_CLASSES", str(OLD), "DATASETS.KEPT_SCORES", "(0.0, 0.0)"]
    config = centernet2.load_config(SMALL, [*TINY, *MASKS, *options])
    train_set, _ = find_training_data(config, new, None)
    command = given_command(config, {}, data=new, data_path=None, weights=old, device="cpu")
    labelled = label_kept_classes(train_set, config, command)
    masks, dog, block = labelled.masks, 0, 2
    assert masks is not None and len(masks.kinds) == len(labelled.labels)
    assert (masks.kinds[labelled.labels == block] == POLYGONS).all()
    kept = np.flatnonzero((labelled.labels == dog) & masks.have_pixels())
    assert len(kept) >= 4
    for row, (left, top, right, bottom) in zip(kept, labelled.boxes(kept), strict=True):
        y, x = masks.bitmap(row, (64, 64)).numpy().nonzero()
        assert left - 1 <= x.min() and x.max() <= right and top - 1 <= y.min() and y.max() <= bottom
    copied = ["INPUT.COPY_PASTE", "1.0", "DATASETS.KEPT_SCORES", "(0.0, 0.5)"]
    still = ["SOLVER.BASE_LR", "1e-30", "SOLVER.MAX_ITER", "1"]
    metrics = train(new, tmp_path / "run", *MASKS, *still, *copied, weights=old)
    assert "segm/AP/block" in metrics
    before, after = (load_checkpoint(each).weights[PREDICTOR] for each in (old, tmp_path / "run"))
    assert torch.equal(after[:2], before) and len(after) == 3
    with pytest.raises(centernet2.ConfigError, match=r"old\.pth predicts no masks"):
        boxes = save_untrained(tmp_path / "old.pth", OLD, *SEEN)
        train(new, tmp_path / "other", *MASKS, *still, weights=boxes)


@pytest.mark.parametrize(("names", "words", "message"), [
    (("block",), [], "keeps the classes of a detector, and none is given; .* --from"),
    (("cat", "dog"), ["--from", "old.pth"], "all of them, so there is no class to add"),
    (("block",), ["--from", "bare.pth"], "does not name its classes"),
    (("block",), ["--from", "old.pth", "--eval-only"],
     "leave out --keep-classes beside --eval-only"),
    (("block",), ["--from", "old.pth", "--seed=1", *MASKS], "no object has a mask"),
])  # fmt: skip
def test_refused_combinations(
    names: tuple[str, ...], words: list[str], message: str, old: Path, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert old.parent == tmp_path
    monkeypatch.chdir(tmp_path)
    bare = build_untrained()
    checkpoint = Checkpoint(bare.state_dict(), bare.info, iteration=1, metrics={})
    save_checkpoint(tmp_path / "bare.pth", checkpoint)
    write_blocks(tmp_path / "data", *names)
    given = ["train", "data", "--config-file", SMALL, "--keep-classes", "--output-dir", "run"]
    with pytest.raises(SystemExit) as stop, ending():
        app([*given, *words[:3], *TINY, *words[3:]], exit_on_error=False)
    assert stop.value.code == 2
    assert re.search(message, caplog.records[-1].getMessage())
    assert not (tmp_path / "run").exists()


def test_run_without_kept_classes_cannot_get_them_later(new: Path, tmp_path: Path) -> None:
    train(new, tmp_path / "run", "SOLVER.MAX_ITER", "1", mode=TrainMode())
    with pytest.raises(ValueError, match="was started without --keep-classes"):
        train(new, tmp_path / "run", "SOLVER.MAX_ITER", "2", resume=True)


def test_data_sets_with_different_labels_train_together(tmp_path: Path) -> None:
    sets = [write_blocks(tmp_path / name, name) for name in ("cat", "dog")]
    output, mode = tmp_path / "run", TrainMode(partial_labels=True)
    words = [*map(str, sets[1:]), "SOLVER.MAX_ITER", "1"]
    metrics = train(sets[0], output, *words, mode=mode)  # type: ignore[arg-type]
    assert {"bbox/AP/cat", "bbox/AP/dog"} <= metrics.keys()
    assert load_checkpoint(output).info.class_names == ("cat", "dog")
    again = centernet2.evaluate(output)
    assert again["bbox/AP"] == pytest.approx(metrics["bbox/AP"], nan_ok=True)
    centernet2.train(SMALL, "SOLVER.MAX_ITER", "2", output_dir=output, device="cpu", resume=True)
    assert load_checkpoint(output).iteration == 2
    joined = centernet2.train(
        SMALL, str(sets[1]), *TINY, data=sets[0], output_dir=output, device="cpu",
        mode=replace(mode, dry_run=True),
    )  # fmt: skip
    assert joined[0] == "training data: cat_train+dog_train, 8 images, 8 objects, 2 classes"
    for given, reason in (
        (sets, "--partial-labels trains on them together"),
        (sets[:1], "only"),
        ([*sets, sets[0]], r"the data set .*cat is given twice; name it once"),
    ):
        chosen = TrainMode(partial_labels=len(given) != 2)
        with pytest.raises(ValueError, match=reason):
            train(given[0], tmp_path / "other", *map(str, given[1:]), mode=chosen)


def test_options_given_as_keys_besides_are_refused(old: Path, new: Path, tmp_path: Path) -> None:
    cases: list[tuple[str, list[str], TrainMode]] = [
        ("DATASETS.TRAIN", [str(new), str(old.parent), "DATASETS.TRAIN", "other"],
         TrainMode(partial_labels=True)),
        ("DATASETS.KEPT_CLASSES", [str(new), "DATASETS.KEPT_CLASSES", "[dog]"], KEEP),
        ("SOLVER.MAX_MINUTES", [str(new), "SOLVER.MAX_MINUTES", "5"], TrainMode(minutes=9)),
        ("DATASETS.VAL_FRACTION", [str(new), "DATASETS.VAL_FRACTION", "0.5"],
         TrainMode(val_fraction=0.1)),
    ]  # fmt: skip
    for key, words, mode in cases:
        with pytest.raises(ValueError, match=f"{key} has no effect beside .*leave one of them out"):
            centernet2.train(
                None, *words, weights=old, output_dir=tmp_path / "run", device="cpu", mode=mode
            )
    assert not (tmp_path / "run").exists()
