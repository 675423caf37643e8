"""The files of detections of several data sets whose ids are the same."""

import json
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from centernet2.builders.evaluation.stored_results import read_detections
from centernet2.data import DetectionDataset, concatenate
from centernet2.data.readers.catalog import load_dataset
from centernet2.data.readers.coco import load_coco
from centernet2.evaluation.detection_files import write_detections
from centernet2.evaluation.ground_truth import source_sets
from centernet2.evaluation.stream import ImageResult
from tests.helpers.data import make_content, renumber, write_dataset

STAGES: dict[str, Any] = {
    "object_scores": [0.5], "class_scores": [0.5], "recall": {}, "proposals": []
}  # fmt: skip


def joined(folder: Path, ids: dict[str, int] | None = None) -> DetectionDataset:
    """Join two data sets that have the same image ids and the name `val`."""
    contents = [make_content(), renumber(make_content(), ids or {"zebra": 7, "ant": 3})]
    files = [write_dataset(folder, each, str(i)) for i, each in enumerate(contents)]
    return concatenate([load_coco(file, folder / "images", name="val") for file in files])


def detections(dataset: DetectionDataset, *, stages: bool) -> dict[int, ImageResult]:
    """One detection per image, whose score tells the image."""
    return {
        i: ImageResult(
            np.array([[i, 1, 2, 30, 20, 0.1 * (i + 1), i % 2]]),
            None,
            {**STAGES, "index": i} if stages else None,
        )
        for i in range(len(dataset))
    }


@pytest.mark.parametrize("ids", [{"zebra": 7, "ant": 3}, {"zebra": 1, "ant": 9}])
def test_each_data_set_has_its_own_file(tmp_path: Path, ids: dict[str, int]) -> None:
    dataset = joined(tmp_path, ids)
    images = detections(dataset, stages=True)
    write_detections(tmp_path / "eval", dataset, images)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("predictions.json"))
    assert [str(file) for file in files] == [
        "eval/val/predictions.json",
        "eval/val_2/predictions.json",
    ]
    records = [json.loads((tmp_path / file).read_text()) for file in files]
    assert [[each["image_id"] for each in part] for part in records] == [[10, 20, 30]] * 2
    assert [each["category_id"] for each in records[0]] == [3, 7, 3]
    assert [each["category_id"] for each in records[1]] == [ids["zebra"], ids["ant"], ids["zebra"]]
    for folder in (tmp_path, tmp_path / "eval"):  # of a training run, of an evaluation
        found = read_detections(folder, dataset)
        rows = np.concatenate([each.results for each in images.values()])
        assert np.array_equal(found.results, rows) and found.masks is None
        assert found.stages is not None
        assert [each["index"] for each in found.stages] == list(range(6))


def test_files_of_one_name_in_two_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The order of the data sets does not matter when the results are read again."""
    names = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        file = write_dataset(tmp_path / folder, make_content(), "val")
        names.append(
            f"{file.rename(tmp_path / folder / 'val.json')}@{tmp_path / folder / 'images'}"
        )
    load = partial(load_dataset, data=None, data_path=None, split="val")
    dataset = load(names=names)
    with caplog.at_level(logging.INFO):
        write_detections(tmp_path / "out", dataset, detections(dataset, stages=False))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_val", "b_val"]
    assert f"b/val: its detections are in {tmp_path / 'out' / 'b_val'}" in caplog.text
    found = read_detections(tmp_path / "out", load(names=names[::-1])).results
    expected = np.concatenate([each.results for each in detections(dataset, stages=False).values()])
    assert np.array_equal(found[:, 5], np.roll(expected[:, 5], 3))


def test_numbered_names_are_different() -> None:
    names = ("val", "val_2", "val", "val")
    truth: Any = SimpleNamespace(
        sources=np.arange(4), source_names=names, source_category_ids=[()] * 4
    )
    folders = [each.folder for each in source_sets(truth)]
    assert folders == ["val", "val_2", "val_3", "val_4"]


def test_results_are_not_read_as_other_classes(tmp_path: Path) -> None:
    """The file has the names of the classes: ids of other data do not decide."""
    file = write_dataset(tmp_path, make_content(), "val")
    dataset = load_coco(file, tmp_path / "images", name="val")
    write_detections(tmp_path / "out", dataset, detections(dataset, stages=False))
    labels = read_detections(tmp_path / "out", dataset).results[:, 6]
    exchanged = replace(dataset, category_ids=dataset.category_ids[::-1])
    assert np.array_equal(read_detections(tmp_path / "out", exchanged).results[:, 6], labels)
    swapped = replace(exchanged, class_names=("ant", "cow"))
    with pytest.raises(ValueError, match=r"detection . is of class name 'zebra', which is not in"):
        read_detections(tmp_path / "out", swapped)


def test_one_file_for_colliding_ids_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    record: dict[str, Any] = {"image_id": 30, "category_id": 7, "bbox": [1, 2, 9, 9], "score": 0.9}
    path.write_text(json.dumps([record]))
    with pytest.raises(ValueError, match=r"found\.json.* image_id 30.* DATASETS\.TEST"):
        read_detections(path, joined(tmp_path))
    with pytest.raises(ValueError, match=r"DATASETS\.TEST, but val and val have different"):
        read_detections(path, joined(tmp_path, {"zebra": 1, "ant": 9}))


def test_file_of_one_data_set_replaces_those_of_several(tmp_path: Path) -> None:
    dataset = joined(tmp_path)
    write_detections(tmp_path, dataset, detections(dataset, stages=True))
    one = replace(dataset.subset(np.arange(3)), sources=None)
    write_detections(tmp_path, one, detections(one, stages=False))
    assert len(read_detections(tmp_path, one).results) == 3
    write_detections(tmp_path, dataset, detections(dataset, stages=False))
    assert not (tmp_path / "predictions.json").exists()
    assert not list(tmp_path.rglob("stages.json"))


def test_images_that_an_evaluation_skipped_are_found(tmp_path: Path) -> None:
    """Of joined data sets, beside the folders of their files."""
    dataset = joined(tmp_path)
    images = detections(dataset, stages=False)
    del images[4]  # the second image of the second set
    eval_folder = tmp_path / "eval"
    write_detections(eval_folder, dataset, images)
    skipped = [{"image_id": 20, "file_name": dataset.file_name(4), "reason": "truncated"}]
    (eval_folder / "skipped.json").write_text(json.dumps(skipped))
    for folder in (tmp_path, eval_folder):
        assert list(read_detections(folder, dataset).skipped) == [4]
    second = replace(dataset.subset(np.arange(3, 6)), sources=None)
    assert list(read_detections(eval_folder / "val_2" / "predictions.json", second).skipped) == [1]


@pytest.mark.parametrize(
    "content",
    ["[1, 2]", '[{"image_id": 10}]', '[{"name": "conv1"}]', '{"10": {}}', "no JSON", "[[10]]"],
)
def test_stages_of_another_program_are_left_out(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = replace(joined(tmp_path).subset(np.arange(3)), sources=None)
    write_detections(tmp_path, dataset, detections(dataset, stages=False))
    (tmp_path / "stages.json").write_text(content)
    found = read_detections(tmp_path, dataset)
    assert found.stages is None and len(found.results) == 3
    assert "stages.json was not written by `eval`" in caplog.text
