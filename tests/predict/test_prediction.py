"""The result object: selection, what is not carried, conversions, pictures."""

import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from centernet2.predict.prediction import Detection, NotCarriedError, Prediction
from tests.helpers.predictions import left_half, make_prediction


def test_iteration_gives_one_detection_each() -> None:
    prediction = make_prediction()
    assert len(prediction) == 3 and prediction.names == ["dog", "cat", "dog"]
    assert next(iter(prediction)) == Detection((1, 2, 30, 40), 0.75, 1, "dog")
    assert prediction[-1] == list(prediction)[2] == prediction[np.int64(2)]
    with pytest.raises(IndexError):
        prediction[3]


@pytest.mark.parametrize(("key", "scores"), [
    (slice(1, None), [0.5, 0.25]),
    ([2, 0], [0.25, 0.75]),
    ([True, False, True], [0.75, 0.25]),
    (np.array([False, True, False]), [0.5]),
    ("dog", [0.75, 0.25]),
    (["cat", "dog"], [0.75, 0.5, 0.25]),
    ([], []),
])  # fmt: skip
def test_selection(key: Any, scores: list[float]) -> None:
    prediction = make_prediction(
        columns={
            "masks": left_half(),
            "objectness": np.array([0.9, 0.8, 0.7]),
            "proposals": np.zeros((9, 4)),
        }
    )
    chosen = prediction[key]
    assert chosen.scores.tolist() == scores
    assert chosen.masks.shape == (len(scores), 60, 80)
    assert len(chosen.objectness) == len(chosen.boxes) == len(chosen.labels) == len(scores)
    assert chosen.proposals.shape == (9, 4)  # of the image, whatever is selected


def test_selection_by_score_and_class() -> None:
    prediction = make_prediction()
    assert prediction[prediction.scores > 0.3]["dog"].scores.tolist() == [0.75]
    with pytest.raises(KeyError, match="no class 'dogs'; did you mean 'dog'"):
        prediction["dogs"]
    assert make_prediction(class_names=()).names == ["1", "0", "1"]


def test_reads_as_a_dictionary_of_tensors() -> None:
    prediction = make_prediction()
    assert [*dict(prediction)] == ["boxes", "scores", "labels"] and "masks" not in prediction
    weights = torch.ones(4, requires_grad=True)
    prediction["boxes"] += 1
    (prediction["boxes"] * weights).sum().backward()
    prediction["scores"].mul_(2)
    assert prediction.boxes[0].tolist() == [2, 3, 31, 41]
    assert prediction.scores.tolist() == [1.5, 1, 0.5]
    masked = make_prediction(class_names=("cat", "masks"), columns={"masks": left_half()})
    assert masked["masks"].dtype == torch.bool
    assert masked[["masks"]].scores.tolist() == [0.75, 0.25]
    with pytest.raises(KeyError, match="cannot be set"):
        masked["cat"] = 1


@pytest.mark.parametrize("name", ["masks", "proposals", "objectness", "class_probability", "ids"])
def test_missing_columns_say_why(name: str) -> None:
    with pytest.raises(NotCarriedError, match=f"the prediction carries no {name}: .+"):
        getattr(make_prediction(), name)
    exported = make_prediction(missing={name: "export with --everything"})
    with pytest.raises(NotCarriedError, match=f"no {name}: export with --everything"):
        getattr(exported, name)
    assert not hasattr(exported, name)


def test_rows_and_pandas() -> None:
    pandas = pytest.importorskip("pandas", reason="to_pandas needs pandas")
    prediction = make_prediction(columns={"ids": np.array([4, 5, -1])})
    table = prediction.to_pandas()
    assert list(table.columns) == [
        "image", "left", "top", "right", "bottom", "score", "label", "name", "id",
    ]  # fmt: skip
    assert table["id"].tolist() == [4, 5, -1] and table["name"].tolist() == ["dog", "cat", "dog"]
    film = replace(prediction, frame=7, time=0.28)
    assert film.to_pandas()[["frame", "time"]].iloc[0].tolist() == [7, 0.28]
    empty = film[:0].to_pandas()
    assert isinstance(empty, pandas.DataFrame) and list(empty.columns) == list(film.to_pandas())


def test_to_coco() -> None:
    first, *_, last = make_prediction().to_coco(image_id=9)
    assert first == {
        "image_id": 9, "category_id": 2, "bbox": [1, 2, 29, 38], "area": 1102,
        "iscrowd": 0, "score": 0.75,
    }  # fmt: skip
    assert last["bbox"] == [0, 0, 80, 60]


def test_masks_are_run_lengths_in_coco() -> None:
    coco_mask = pytest.importorskip("pycocotools.mask", reason="pycocotools reads run lengths")
    masks = left_half()
    for record, mask in zip(
        make_prediction(columns={"masks": masks}).to_coco(), masks, strict=True
    ):
        assert np.array_equal(coco_mask.decode(record["segmentation"]), mask)
        assert record["area"] == mask.sum()


def test_masks_are_pasted_when_they_are_asked_for() -> None:
    grids = np.random.default_rng(0).random((3, 28, 28), np.float32)
    prediction = make_prediction(columns={"box_masks": grids})
    assert "masks" in prediction and prediction.has_masks and not make_prediction().has_masks
    each = [mask.copy() for mask in prediction.each_mask()]
    assert np.array_equal(prediction[1:].masks, each[1:])
    assert np.array_equal(prediction.masks, each) and prediction.masks.shape == (3, 60, 80)
    prediction["masks"][0] = True
    assert prediction.masks[0].all() and prediction[:1].each_mask()[0].all()


def test_written_and_drawn_masks_are_in_memory_one_at_a_time() -> None:
    boxes = np.tile(np.array([[10, 10, 50, 50]], np.float32), (100, 1))
    prediction = make_prediction(
        boxes=boxes, scores=np.ones(100, np.float32), labels=np.zeros(100, np.int64),
        size=(1000, 1000), pixels=np.zeros((1000, 1000, 3), np.uint8),
        columns={"box_masks": np.ones((100, 28, 28), np.float32)},
    )  # fmt: skip
    tracemalloc.start()
    prediction.to_coco()
    assert tracemalloc.get_traced_memory()[1] < 10_000_000  # the masks have 100 MB
    prediction.plot()
    assert tracemalloc.get_traced_memory()[1] < 60_000_000
    tracemalloc.stop()


def test_to_supervision() -> None:
    pytest.importorskip("supervision", reason="to_supervision needs supervision")
    found = make_prediction(columns={"masks": left_half()}).to_supervision()
    assert found.xyxy.shape == (3, 4) and found.mask.shape == (3, 60, 80)
    assert found.data["class_name"].tolist() == ["dog", "cat", "dog"]
    assert len(make_prediction()[:0].to_supervision()) == 0


def test_pictures_and_notebooks() -> None:
    prediction = make_prediction()
    picture = prediction.plot()
    assert picture.size == (320, 240) and (np.array(picture) != 128).any()
    assert prediction._repr_png_()[:4] == b"\x89PNG"
    assert "<img" in prediction._repr_html_() and "<td>dog</td>" in prediction._repr_html_()
    alone = make_prediction(path=None, pixels=None, class_names=("<b>", "a&b"))
    assert "<img" not in alone._repr_html_() and "<td>&lt;b&gt;</td>" in alone._repr_html_()
    assert alone._repr_png_() is None
    with pytest.raises(ValueError, match="does not keep its image"):
        alone.plot()


def test_image_of_a_file_is_read_again(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(make_prediction(path=tmp_path / "a.png", pixels=None).image, pixels)


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.json", "a.csv"])
def test_save(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for path in (tmp_path / name, f"~/{name}"):
        make_prediction().save(path)
    for folder in (tmp_path, tmp_path / "home"):
        assert (folder / name).stat().st_size > 100


def test_picture_that_a_format_does_not_hold_is_named(tmp_path: Path) -> None:
    wide = replace(make_prediction(), size=(3, 70_000), pixels=np.zeros((3, 70_000, 3), np.uint8))
    for name in ("a.jpg", "a.webp"):
        with pytest.raises(ValueError, match=r"a picture of 70000 x 3 pixels .*; use \.png"):
            wide.save(tmp_path / name)
    wide.save(tmp_path / "a.png")
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]


def test_save_names_the_formats(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.bmp: a prediction is saved as .*\.json or \.csv"):
        make_prediction().save(tmp_path / "a.bmp")


def test_prediction_can_be_sent_to_another_process() -> None:
    again: Prediction = pickle.loads(pickle.dumps(make_prediction()))
    assert list(again) == list(make_prediction()) and repr(again) == repr(make_prediction())
    assert repr(again) == "Prediction(3 objects, photos/scene.jpg, 80 x 60)"
    assert repr(again[:1]) == "Prediction(1 object, photos/scene.jpg, 80 x 60)"
