"""Files of the command `predict`: pictures, films, records, tables, labels, crops."""

import csv
import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from centernet2.outputs import is_own_picture, writable_folder
from centernet2.pictures import save_picture
from centernet2.predict.output_files import (
    KINDS,
    earlier_files,
    open_outputs,
    set_aside_earlier_files,
)
from centernet2.predict.prediction import Prediction
from tests.helpers.data import load_split
from tests.helpers.films import require_av, sound_of, write_film
from tests.helpers.predictions import NAMES, left_half, make_prediction


def write(folder: Path, predictions: list[Prediction], *kinds: str) -> None:
    with open_outputs(folder, kinds, predictions[0].class_names) as outputs:
        for each in predictions:
            outputs.write(each)


def names_below(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_every_kind_is_written(tmp_path: Path) -> None:
    write(tmp_path, [make_prediction()], *KINDS)
    assert names_below(tmp_path) == [
        "00000_scene.png", "coco.json", "crops/cat/00000_scene_1.jpg",
        "crops/dog/00000_scene_0.jpg", "crops/dog/00000_scene_2.jpg", "detections.csv",
        "labels/00000_scene.txt", "labels/data.yaml", "predictions.json",
    ]  # fmt: skip
    write_again = writable_folder(
        tmp_path, "--output", command="predict", files=earlier_files(tmp_path)
    )
    assert write_again == tmp_path


@pytest.mark.parametrize("name", [
    "predictions.json", "coco.json", "detections.csv", "00000_a.png", "00000_a.mp4",
    "labels/00000_a.txt", "labels/data.yaml", "crops/cat/00000_a_0.jpg",
])  # fmt: skip
def test_files_of_others_are_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(ValueError, match="exists and was not made by `centernet2 predict`"):
        writable_folder(tmp_path, "--output", command="predict", files=earlier_files(tmp_path))


def test_files_of_earlier_runs_are_moved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Those of others and inputs stay; labels may have been corrected."""
    write(tmp_path, [make_prediction(), make_prediction()], *KINDS)
    Image.new("RGB", (8, 8)).save(tmp_path / "00007_mine.png")
    (tmp_path / "crops" / "dog" / "notes.txt").write_text("")
    (tmp_path / "labels" / "00001_scene.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    with caplog.at_level(logging.INFO):
        set_aside_earlier_files(tmp_path, [tmp_path / "00001_scene.png", "camera 0"])
    moved = ["00000_scene.png", "coco.json", "detections.csv", "labels/data.yaml"]
    moved += ["predictions.json"]
    for stem in ("00000_scene", "00001_scene"):
        crops = [f"{name}/{stem}_{number}" for name, number in (("cat", 1), ("dog", 0), ("dog", 2))]
        moved += [f"labels/{stem}.txt", *(f"crops/{each}.jpg" for each in crops)]
    assert names_below(tmp_path / "earlier_1") == sorted(moved)
    left = [name for name in names_below(tmp_path) if not name.startswith("earlier_1/")]
    assert left == ["00001_scene.png", "00007_mine.png", "crops/dog/notes.txt"]
    assert (tmp_path / "earlier_1" / "labels" / "00001_scene.txt").read_text().startswith("0 0.5")
    assert not (tmp_path / "crops" / "cat").exists() and not (tmp_path / "labels").exists()
    assert f"{tmp_path} holds an earlier run: 13 files moved to {tmp_path}/earlier_1" in caplog.text


def test_each_earlier_run_has_its_folder(tmp_path: Path) -> None:
    for run in range(3):
        set_aside_earlier_files(tmp_path, [])
        write(tmp_path, [make_prediction(path=Path(f"{run}.jpg"))], "pictures")
    moved = [f"earlier_{number}/00000_{number - 1}.png" for number in (1, 2)]
    assert names_below(tmp_path) == ["00000_2.png", *moved]


def test_files_of_the_user_stay(tmp_path: Path) -> None:
    folder, own = tmp_path / "out", tmp_path / "own"
    write(own, [make_prediction(), make_prediction()], *KINDS)
    (folder / "crops").mkdir(parents=True)
    (folder / "crops" / "cat").symlink_to(own / "crops" / "cat")
    (folder / "coco.json").symlink_to(own / "coco.json")
    (folder / "00000_link.png").symlink_to(own / "00000_scene.png")
    (folder / "labels").symlink_to(own / "labels")
    os.link(own / "00000_scene.png", folder / "00001_input.png")
    os.link(own / "00001_scene.png", folder / "00002_input.png")
    save_picture(Image.new("RGB", (8, 8)), folder / "00003_explained.jpg")
    for name in ("00004_empty.png", "detections.csv"):
        (folder / name).write_text("")
    before = names_below(tmp_path)
    set_aside_earlier_files(folder, [own / "00000_scene.png", f"file://{own}/00001_scene.png"])
    assert names_below(tmp_path) == before
    assert folder / "00003_explained.jpg" not in map(folder.joinpath, earlier_files(folder))


def test_records(tmp_path: Path) -> None:
    empty = make_prediction(path=Path("other/scene.jpg"))[:0]
    write(tmp_path, [make_prediction(), empty], "pictures", "json")
    first, second = json.loads((tmp_path / "predictions.json").read_text())
    assert first["detections"][0] == {
        "box": [1, 2, 30, 40], "score": 0.75, "label": 1, "class": "dog"
    }  # fmt: skip
    assert {**first, "detections": len(first["detections"])} == {
        "file": "photos/scene.jpg", "picture": "00000_scene.png",
        "width": 80, "height": 60, "detections": 3,
    }  # fmt: skip
    assert second["detections"] == [] and second["picture"] == "00001_scene.png"
    drawn = np.array(Image.open(tmp_path / "00000_scene.png"))
    assert (drawn != 128).any() and is_own_picture(tmp_path / "00000_scene.png")


def test_coco_file_is_a_data_set(tmp_path: Path) -> None:
    pixels = np.full((60, 80, 3), 128, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = make_prediction(path=tmp_path / "a.png", columns={"masks": left_half()})
    write(tmp_path / "out", [found, found[:0]], "coco")
    content = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert [each["id"] for each in content["images"]] == [1, 2]
    assert [each["id"] for each in content["annotations"]] == [1, 2, 3]
    assert content["annotations"] == [
        {"id": i, **each} for i, each in enumerate(found.to_coco(1), start=1)
    ]
    assert content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def test_categories_without_names_are_labels(tmp_path: Path) -> None:
    write(tmp_path, [make_prediction(class_names=())], "coco")
    content = json.loads((tmp_path / "coco.json").read_text())
    assert content["categories"] == [{"id": 1, "name": "0"}, {"id": 2, "name": "1"}]


def test_table(tmp_path: Path) -> None:
    film = make_prediction(path=Path("a, b.mp4"), frame=3, time=0.12, columns={"ids": np.arange(3)})
    write(tmp_path, [make_prediction(columns=film.columns), film], "csv")
    with (tmp_path / "detections.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 and rows[0]["frame"] == "" and rows[0]["image"] == "photos/scene.jpg"
    expected = {"image": "a, b.mp4", "frame": "3", "time": "0.12", "name": "dog", "id": "0"}
    assert {key: rows[3][key] for key in expected} == expected
    assert [float(rows[3][side]) for side in ("left", "top", "right", "bottom")] == [1, 2, 30, 40]


def test_labels_are_read_as_yolo(tmp_path: Path) -> None:
    photo = tmp_path / "images" / "00000_scene.png"
    photo.parent.mkdir()
    Image.new("RGB", (80, 60)).save(photo)
    write(tmp_path, [make_prediction()], "yolo")
    content = yaml.safe_load((tmp_path / "labels" / "data.yaml").read_text())
    assert content == {"names": list(NAMES)}
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [cat, dog]\n")
    data = load_split(tmp_path)
    assert data.xywh.tolist() == pytest.approx(
        np.array([[1, 2, 29, 38], [10, 20, 60, 30], [0, 0, 80, 60]]), abs=1e-3
    )
    assert data.labels.tolist() == [1, 0, 1]


def test_masks_are_read_as_polygons_of_yolo(tmp_path: Path) -> None:
    masks = left_half()
    masks[0, :, :10], masks[0, 20:30, 20:30] = False, False  # with a hole
    masks[2] = False  # no pixel: the polygon of its box
    write(tmp_path, [make_prediction(columns={"masks": masks})], "yolo")
    photo = tmp_path / "images" / "00000_scene.png"
    photo.parent.mkdir()
    Image.new("RGB", (80, 60)).save(photo)
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [cat, dog]\n")
    data = load_split(tmp_path, "train", masks=True)
    assert data.labels.tolist() == [1, 0, 1] and data.masks is not None
    masks[2] = True
    for row, mask in enumerate(masks):
        assert (data.masks.bitmap(row, (60, 80)).numpy() != mask).mean() < 0.02


def test_crops_are_inside_the_image_and_their_folder(tmp_path: Path) -> None:
    boxes = np.array([[-9, -9, 10.2, 10.7], [70, 50, 99, 99], [81, 0, 90, 9]], np.float32)
    found = make_prediction(boxes=boxes, class_names=("../../a", "b:c?"))
    write(tmp_path, [found], "crops")
    sizes = {name: Image.open(tmp_path / name).size for name in names_below(tmp_path)}
    assert sizes == {
        "crops/b_c_/00000_scene_0.jpg": (11, 11),
        "crops/.._.._a/00000_scene_1.jpg": (10, 10),
    }


def test_crop_that_jpeg_does_not_hold_is_a_png(tmp_path: Path) -> None:
    found = make_prediction(boxes=np.array([[0, 0, 70_000, 3]] * 3, np.float32))
    wide = replace(found, size=(3, 70_000), pixels=np.zeros((3, 70_000, 3), np.uint8))
    write(tmp_path, [wide[:1]], "crops")
    assert names_below(tmp_path) == ["crops/dog/00000_scene_0.png"]
    set_aside_earlier_files(tmp_path, [])
    assert names_below(tmp_path) == ["earlier_1/crops/dog/00000_scene_0.png"]


def test_any_file_name_is_written(tmp_path: Path) -> None:
    names = [os.fsdecode(b"caf\xe9.jpg"), "n" * 250 + ".jpg", "Löwe?*:.jpg"]
    found = [make_prediction(path=Path("in") / name) for name in names]
    write(tmp_path, found, "pictures", "json", "csv", "coco")
    records = json.loads((tmp_path / "predictions.json").read_bytes().decode("utf-8"))
    assert [Path(record["file"]).name for record in records] == [r"caf\xe9.jpg", *names[1:]]
    pictures = [record["picture"] for record in records]
    assert pictures[0] == "00000_caf_.png" and pictures[2] == "00002_Löwe___.png"
    assert all((tmp_path / picture).is_file() for picture in pictures)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_images_before_an_interruption_are_kept(
    tmp_path: Path, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    for images, expected in ((2, 2), (0, 2)):  # without an image, the old files stay
        kinds = ("json", "coco", "csv")
        with pytest.raises(error), open_outputs(tmp_path, kinds, NAMES) as outputs:
            for _ in range(images):
                outputs.write(make_prediction())
            raise error
        assert len(json.loads((tmp_path / "predictions.json").read_text())) == expected
        assert len(json.loads((tmp_path / "coco.json").read_text())["images"]) == expected
        assert len((tmp_path / "detections.csv").read_text().splitlines()) == 1 + 3 * expected
    assert "stopped after 2 images" in caplog.text
    assert not list(tmp_path.glob(".*"))


def test_files_without_predictions_are_valid(tmp_path: Path) -> None:
    with open_outputs(tmp_path, ("json", "coco"), NAMES):
        pass
    assert json.loads((tmp_path / "predictions.json").read_text()) == []
    content = json.loads((tmp_path / "coco.json").read_text())
    assert content["images"] == content["annotations"] == [] and len(content["categories"]) == 2


def film_of(path: Path, count: int, **changes: Any) -> list[Prediction]:
    first = make_prediction(path=path, **changes)
    return [replace(first, frame=i, time=i / 25) for i in range(count)]


def test_film_is_drawn_with_its_sound(tmp_path: Path) -> None:
    require_av()
    path = write_film(tmp_path / "a.mp4", 25, sound="aac")
    predictions = [*film_of(path, 25), make_prediction(), *film_of(path, 25)]
    write(tmp_path / "out", predictions, "pictures", "json", "yolo")
    names = ["00000_a.mp4", "00001_scene.png", "00002_a.mp4"]
    assert [n for n in names_below(tmp_path / "out") if n[0] == "0"] == names
    assert sound_of(tmp_path / "out" / "00002_a.mp4")[0][1] == pytest.approx(1, abs=0.06)
    assert (tmp_path / "out" / "labels" / "00000_a_000024.txt").is_file()
    records = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert records[1]["picture"] == "00000_a.mp4" and records[1]["frame"] == 1
    assert records[1]["time"] == 0.04


def test_frames_of_another_size_begin_another_film(tmp_path: Path) -> None:
    require_av()
    start = film_of(Path("camera 0"), 3)
    larger = film_of(Path("camera 0"), 6, size=(90, 80), pixels=np.zeros((90, 80, 3), np.uint8))
    write(tmp_path, [*start, *larger[3:]], "pictures")
    assert names_below(tmp_path) == ["00000_camera 0.mp4", "00000_camera 0_2.mp4"]
