"""Names in composed and decomposed Unicode form, as other systems store them, are the same."""

import json
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from centernet2.builders.data.class_map import parse_class_map, read_class_map
from centernet2.data import concatenate, rename_classes, with_classes
from centernet2.data.class_names import join_classes
from centernet2.data.readers.coco import load_coco
from centernet2.data.readers.results import read_results
from tests.helpers.data import Content, make_content, write_dataset
from tests.helpers.split_records import boxes, read

COMPOSED = "café Bär"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)
FORMS = [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)]


def named(name: str, file: str = "wide.png") -> Content:
    content = make_content()
    content["categories"][0]["name"] = name
    content["images"][0]["file_name"] = file
    return content


@pytest.mark.parametrize(("one", "other"), FORMS)
def test_class_names_are_joined(tmp_path: Path, one: str, other: str) -> None:
    join = join_classes([one, "x"], ["y", other])
    assert join.labels.tolist() == [1, -1] and join.added == ("x",) and join.missing == ("y",)
    datasets = [
        load_coco(write_dataset(tmp_path, named(name), split), tmp_path / "images", name=split)
        for name, split in ((one, "train"), (other, "val"))
    ]
    assert concatenate(datasets).class_names == ("ant", COMPOSED)
    assert with_classes(datasets[0], [other, "ant"], owner="it").class_names == (COMPOSED, "ant")


@pytest.mark.parametrize(("one", "other"), FORMS)
def test_class_maps_rename_either_form(tmp_path: Path, one: str, other: str) -> None:
    path = write_dataset(tmp_path, named(one), "train")
    dataset = load_coco(path, tmp_path / "images", name="train")
    renamed = rename_classes(dataset, parse_class_map(read_class_map(f"{other}=new")))
    assert renamed.class_names == ("ant", "new")


@pytest.mark.parametrize(("one", "other"), FORMS)
def test_results_are_joined_by_either_form(tmp_path: Path, one: str, other: str) -> None:
    path = write_dataset(tmp_path, named(one, file=f"{one}.png"), "train")
    dataset = load_coco(path, tmp_path / "images", name="train")
    record = {"image_id": None, "file_name": f"{other}.png", "category_name": other}
    (tmp_path / "found.json").write_text(
        json.dumps([record | {"bbox": [4, 6, 20, 10], "score": 1}])
    )
    results = read_results(tmp_path / "found.json", dataset).results
    assert results[0].tolist() == [2, 4, 6, 20, 10, 1, 1]


@pytest.mark.parametrize(("stored", "written"), FORMS)
def test_coco_images_are_found(tmp_path: Path, stored: str, written: str) -> None:
    path = write_dataset(tmp_path, named("zebra", file=f"{stored}.png"), "train")
    path.write_text(json.dumps(named("zebra", file=f"{written}.png")))
    dataset = load_coco(path, tmp_path / "images", name="train")
    assert dataset.image_path(2).name == f"{stored}.png" and dataset.image_path(2).is_file()


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 20)).save(path)


@pytest.mark.parametrize(("stored", "written"), FORMS)
def test_coco_folders_are_found(tmp_path: Path, stored: str, written: str) -> None:
    for folder in ("images", "train"):
        (tmp_path / folder).mkdir()
    picture(tmp_path / "train" / f"{stored}.png")
    content = named("zebra", file=f"{written}.png")
    del content["images"][1:]
    (tmp_path / "train.json").write_text(json.dumps(content))
    assert read(tmp_path).folder == tmp_path / "train"


@pytest.mark.parametrize(("stored", "written"), FORMS)
def test_yolo_lists_and_folders_are_found(tmp_path: Path, stored: str, written: str) -> None:
    for split in ("train", "val"):
        picture(tmp_path / stored / "images" / split / f"{stored}.png")
        labels = tmp_path / stored / "labels" / split
        labels.mkdir(parents=True)
        (labels / f"{written}.txt").write_text(f"{written} 0.5 0.5 0.5 0.5\n", encoding="utf-8")
        (tmp_path / f"{split}.txt").write_text(
            f"{written}/images/{split}/{written}.png\n", encoding="utf-8"
        )
    names = f"names: ['{stored}']\n"
    for places in ("train: train.txt\nval: val.txt\n", f"train: {written}/images/train\n"):
        (tmp_path / "data.yaml").write_text(places + names, encoding="utf-8")
        assert boxes(read(tmp_path / "data.yaml")) == [(COMPOSED, [10, 5, 20, 10])]


@pytest.mark.parametrize(("stored", "written"), FORMS)
def test_voc_lists_and_images_are_found(tmp_path: Path, stored: str, written: str) -> None:
    picture(tmp_path / "JPEGImages" / f"{stored}.png")
    for folder in ("Annotations", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    size = "<size><width>40</width><height>20</height></size>"
    corners = "<xmin>4</xmin><ymin>3</ymin><xmax>14</xmax><ymax>11</ymax>"
    items = "".join(
        f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>"
        for name in (stored, written)
    )
    text = f"<annotation><filename>{written}.png</filename>{size}{items}</annotation>"
    (tmp_path / "Annotations" / f"{written}.xml").write_text(text, encoding="utf-8")
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text(f"{stored}\n", encoding="utf-8")
    records = read(tmp_path)
    assert boxes(records) == [(COMPOSED, [4, 3, 10, 8])] * 2 and not records.findings
    assert records.content["images"][0]["file_name"] == f"{stored}.png"
