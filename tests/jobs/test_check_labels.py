"""Labels that are judged by a detector, decided on by people, and corrected in a copy."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from centernet2.builders.data.label_folds import suspect_labels_in_folds
from centernet2.cli import app
from centernet2.exit_codes import TrainingInterrupted
from centernet2.jobs.check import LabelCheck, check
from tests.helpers.data import load_split
from tests.helpers.jobs import save_untrained, save_without_names

NOTHING = {  # an accepted suggestion without a change
    "accept": True, "number": 1, "kind": "missing", "split": "train", "image_id": 1,
    "file_name": "1.png", "annotation_id": None, "label": None, "suggested": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of one class, which is not trained."""
    return save_untrained(tmp_path_factory.mktemp("judge") / "model.pth", ("block",))


def judged(data: Path, judge: Path, report: Path) -> dict[str, list[dict[str, object]]]:
    """Check all labels, and return the content of labels.json."""
    check(data, report=report, labels=LabelCheck(with_model=judge, suspicion=0.0, device="cpu"))
    content: dict[str, list[dict[str, object]]] = json.loads((report / "labels.json").read_text())
    return content


def test_labels_are_listed_with_pictures(data: Path, judge: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    suggestions = judged(data, judge, report)["suggestions"]
    assert [each["number"] for each in suggestions] == [*range(1, len(suggestions) + 1)]
    suspicions = [float(str(each["suspicion"])) for each in suggestions]
    assert suspicions == sorted(suspicions, reverse=True)
    labels = {(each["split"], each["annotation_id"]) for each in suggestions}
    assert labels >= {(split, i) for split in ("train", "val") for i in range(1, 5)}
    kinds = {each["kind"]: each for each in suggestions}
    assert kinds["missing"]["label"] is None and kinds["missing"]["annotation_id"] is None
    assert all(each["accept"] is None for each in suggestions)
    sheets = sorted(report.glob("labels_*.jpg"))
    assert len(sheets) == -(-len(suggestions) // 40)
    assert Image.open(sheets[0]).size[0] > 1000


def test_accepted_corrections_are_in_the_copy_only(data: Path, judge: Path, tmp_path: Path) -> None:
    report, copy = tmp_path / "report", tmp_path / "fixed.json"
    content = judged(data, judge, report)
    before = (data / "annotations" / "instances_train.json").read_text()
    suggested = [each for each in content["suggestions"] if each["split"] == "train"]
    missing = next(each for each in suggested if each["kind"] == "missing")
    spurious = next(each for each in suggested if each["annotation_id"] == 2)
    missing["accept"] = True
    spurious |= {"accept": True, "suggested": None, "kind": "spurious"}
    decided = tmp_path / "decided.json"
    decided.write_text(json.dumps(content))
    words = ["--findings-only", "--fix", str(copy), "--accepted", str(decided)]
    with pytest.raises(SystemExit):  # both splits have the same images
        app(["check", str(data), *words], exit_on_error=False)
    fixed = json.loads((tmp_path / "fixed_train.json").read_text())["annotations"]
    assert [each["id"] for each in fixed] == [1, 3, 4, 5]
    assert fixed[-1]["bbox"] == missing["suggested"]["bbox"]  # type: ignore[index]
    assert fixed[-1]["image_id"] == missing["image_id"] and fixed[-1]["category_id"] == 7
    assert len(json.loads((tmp_path / "fixed_val.json").read_text())["annotations"]) == 4
    lines = (tmp_path / "fixed_train.changes.txt").read_text().splitlines()
    assert "removed: annotation 2 in 2.png (spurious)" in lines
    assert (data / "annotations" / "instances_train.json").read_text() == before


def test_decisions_are_not_overwritten(data: Path, judge: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    content = judged(data, judge, report)
    judged(data, judge, report)  # nothing is decided: it is replaced
    content["suggestions"][0]["accept"] = False
    (report / "labels.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"labels\.json holds decisions; .* --accepted"):
        judged(data, judge, report)


def test_corrections_of_other_data_are_refused(data: Path, judge: Path, tmp_path: Path) -> None:
    content = judged(data, judge, tmp_path / "report")
    content["suggestions"][0] |= {"accept": True, "split": "test"}
    decided = tmp_path / "decided.json"
    decided.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="suggestion 1 is about the split test"):
        labels = LabelCheck(accepted=decided)
        check(data, findings_only=True, fix=tmp_path / "fixed.json", labels=labels)
    assert not list(tmp_path.glob("fixed*"))


def test_damaged_decisions_are_named(data: Path, tmp_path: Path) -> None:
    decided = tmp_path / "labels.json"
    for text, words in (
        ('{"suggestions": [}', r"labels\.json: not a JSON file \(.* column 18 .*; correct it"),
        ("[]", r"labels\.json holds no suggestions; give the labels\.json of"),
        (
            '{"suggestions": [{"accept": true, "accept": null}]}',
            "has the key 'accept' twice, with different values",
        ),
        (json.dumps({"suggestions": [NOTHING]}), '"label" and "suggested" are both null'),
        (json.dumps({"suggestions": [NOTHING | {"suggested": "block"}]}), "'block' is no label"),
    ):
        decided.write_text(text)
        options = LabelCheck(accepted=decided)
        with pytest.raises(ValueError, match=words):
            check(data, findings_only=True, fix=tmp_path / "fixed.json", labels=options)


def test_interrupted_check_says_how_it_continues(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(**options: object) -> None:
        raise TrainingInterrupted("--resume continues")

    monkeypatch.setattr("centernet2.jobs.train.train", interrupted)
    with pytest.raises(TrainingInterrupted, match="the same command continues the check"):
        check(data, report=tmp_path / "report", labels=LabelCheck(folds=2))


@pytest.mark.parametrize("options", [{"folds": 2}, {"with_model": "judge"}])
def test_data_without_labels_are_not_judged(
    data: Path, judge: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    folder = shutil.copytree(data, tmp_path / "bare")
    for path in (folder / "annotations").iterdir():
        path.write_text(json.dumps(json.loads(path.read_text()) | {"annotations": []}))
    given = {**options, **({"with_model": judge} if "with_model" in options else {})}
    with pytest.raises(ValueError, match="there are no labels to judge; leave"):
        check(folder, report=tmp_path / "report", labels=LabelCheck(**given))
    assert not (tmp_path / "report" / "labels.json").exists()


def test_impossible_options_are_refused(data: Path, judge: Path, tmp_path: Path) -> None:
    others = save_untrained(tmp_path / "others.pth", ("cat", "dog"))
    nameless = save_without_names(tmp_path / "nameless.pth", judge)
    for options, words in (
        (LabelCheck(with_model=judge, folds=3), "either --with-model or --folds"),
        (LabelCheck(accepted=tmp_path / "a.json"), "name it with --fix"),
        (LabelCheck(with_model=others), r"others\.pth has 2 classes \(cat, dog\) and cannot judge"),
        (LabelCheck(with_model=nameless), r"nameless\.pth has no class names"),
        (LabelCheck(folds=1), "folds is 1; it takes"),
        (LabelCheck(with_model=judge, minutes=3), "--minutes is of the training runs of --folds"),
        (LabelCheck(suspicion=0.5), "--suspicion needs a detector that judges"),
    ):
        with pytest.raises(ValueError, match=words):
            check(data, report=tmp_path / "report", labels=options)
    with pytest.raises(ValueError, match="writes no list of labels"):
        check(data, findings_only=True, labels=LabelCheck(with_model=judge))
    assert not (tmp_path / "report" / "labels.json").exists()


def test_class_without_labels_needs_no_judge(data: Path, judge: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(data, tmp_path / "more")
    for path in (folder / "annotations").iterdir():
        content = json.loads(path.read_text())
        content["categories"].append({"id": 99, "name": "brick"})
        path.write_text(json.dumps(content))
    before, after = (judged(each, judge, tmp_path / each.name) for each in (data, folder))
    assert after["suggestions"] == before["suggestions"]


def test_each_fold_has_images_with_labels(data: Path, judge: Path, tmp_path: Path) -> None:
    """Two of four images have labels, and one a crowd: the AP of a fold needs one of the two."""
    folder = shutil.copytree(data, tmp_path / "few")
    path = folder / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    content["annotations"] = content["annotations"][:3]
    content["annotations"][0]["iscrowd"] = 1
    path.write_text(json.dumps(content))
    few = load_split(folder, "train")
    folds: list[int] = []

    def train(fold: Path, run: Path, resume: bool) -> None:
        run.mkdir(parents=True)
        shutil.copy(judge, run / "model_final.pth")
        found = load_split(fold, "val")
        folds.append(int((~found.crowd).sum()))

    suspect_labels_in_folds({"train": few}, 2, tmp_path, train, device="cpu")
    assert folds == [1, 1]
    with pytest.raises(ValueError, match=r"--folds is 3, and .* has 2 images with labels"):
        suspect_labels_in_folds({"train": few}, 3, tmp_path, train, device="cpu")
    assert len(folds) == 2


def test_each_image_is_judged_by_a_detector_that_has_not_seen_it(
    data: Path, judge: Path, tmp_path: Path
) -> None:
    splits = {split: load_split(data, split) for split in ("train", "val")}
    trained: list[tuple[Path, bool]] = []

    def train(fold: Path, run: Path, resume: bool) -> None:
        trained.append((fold, resume))
        run.mkdir(parents=True)
        shutil.copy(judge, run / "model_final.pth")

    errors = suspect_labels_in_folds(splits, 2, tmp_path, train, device="cpu")
    assert [fold.name[:6] for fold, _ in trained] == ["data_0", "data_1"]
    labels = [(each.split, each.row) for each in errors if each.row is not None]
    assert sorted(labels) == [(split, row) for split in ("train", "val") for row in range(4)]
    parts = [load_split(fold, split) for fold, _ in trained for split in ("train", "val")]
    assert [len(each) for each in parts] == [4, 4, 4, 4]
    seen, judged = ([part.image_id(i) for i in range(4)] for part in parts[:2])
    assert sorted(seen + judged) == [*range(1, 9)]
    assert [parts[3].image_id(i) for i in range(4)] == seen

    suspect_labels_in_folds(splits, 2, tmp_path, train, device="cpu")
    assert len(trained) == 2  # nothing has changed
    run = next(tmp_path.glob("run_1_*"))
    (run / "model_final.pth").unlink()
    (run / "command.yaml").touch()
    with pytest.raises(FileExistsError):
        suspect_labels_in_folds(splits, 2, tmp_path, train, device="cpu")
    assert trained[2:] == [(trained[1][0], True)]  # it is resumed
    fewer = {"train": splits["train"].subset(np.arange(3)), "val": splits["val"]}
    suspect_labels_in_folds(fewer, 2, tmp_path, train, device="cpu")
    assert [resume for _, resume in trained[3:]] == [False, False]
