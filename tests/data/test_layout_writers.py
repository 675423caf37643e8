"""Data sets converted to another layout and back keep their content."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from centernet2.data.dataset import DetectionDataset
from centernet2.data.readers.catalog import load_dataset
from centernet2.jobs.convert import convert
from tests.helpers.data import renumber

Content = dict[str, list[dict[str, Any]]]


@pytest.fixture
def folder(content: Content, write: Callable[..., Path], tmp_path: Path) -> Path:
    """images/, annotations/instances_train.json and instances_val.json."""
    content["annotations"][2]["segmentation"] = [[30.0, 20, 38, 20, 38, 28, 30, 28]]
    write(content, "train")
    of_first = [each for each in content["annotations"] if each["image_id"] == 30]
    return write(
        {**content, "images": content["images"][:1], "annotations": of_first}, "val"
    ).parents[1]


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for results, which may not be in the data set."""
    return tmp_path_factory.mktemp("converted")


def load(
    path: Path, split: Any = "train", *, masks: bool = False, val_fraction: float = 0.0
) -> DetectionDataset:
    return load_dataset(
        data=path, data_path=None, names=[], split=split, masks=masks, val_fraction=val_fraction
    )


def objects(dataset: DetectionDataset, *, crowds: bool = True) -> list[tuple[Any, ...]]:
    """Return the content of a data set, without its ids and order."""
    return sorted(
        (
            dataset.image_path(i).stem.split("_")[-1],
            dataset.size(i),
            dataset.class_names[dataset.labels[row]],
            bool(dataset.crowd[row]),
            *dataset.boxes()[row].round(2).tolist(),
        )
        for i in range(len(dataset))
        for row in range(*dataset.offsets[i : i + 2])
        if crowds or not dataset.crowd[row]
    )


@pytest.mark.parametrize("to", ["coco", "yolo", "voc"])
def test_round_trips(folder: Path, outside: Path, to: str) -> None:
    counts = convert(folder, outside / "out", to=to)
    assert counts == {"train": 3, "val": 1}
    for split in ("train", "val"):
        before, after = load(folder, split), load(outside / "out", split)
        assert objects(after, crowds=to != "yolo") == objects(before, crowds=to != "yolo")
        assert len(after) == len(before) and after.class_names == before.class_names
        assert all(after.image_path(i).is_file() for i in range(len(after)))
    convert(outside / "out", outside / "back", to="coco")
    assert objects(load(outside / "back"), crowds=False) == objects(load(folder), crowds=False)


def test_polygons_survive_coco_and_yolo(folder: Path, outside: Path) -> None:
    before = load(folder, masks=True)
    for to in ("coco", "yolo"):
        convert(folder, outside / to, to=to)
        after = load(outside / to, masks=True)
        found = [s for s in map(after.segmentation, range(len(after.labels))) if s is not None]
        expected = [s for s in map(before.segmentation, range(len(before.labels))) if s is not None]
        np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_array_equal(load(outside / "coco").areas, load(folder).areas)


OMITTED = {
    "coco": [],
    "yolo": [
        "difficult) are left out: 2",
        "masks of several parts or of run lengths become boxes: 1",
    ],
    "voc": ["masks are left out: 2"],
}


@pytest.mark.parametrize("to", OMITTED)
def test_what_a_layout_cannot_hold_is_said(
    content: Content,
    write: Callable[..., Path],
    outside: Path,
    to: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    polygon = [30.0, 20, 38, 20, 38, 28, 30, 28]
    content["annotations"][0]["segmentation"] = [polygon, polygon]
    content["annotations"][2]["segmentation"] = [polygon]
    convert(write(content).parents[1], outside / "out", to=to)
    logs = [each for each in caplog.records if each.name == convert.__module__]
    said = [each.getMessage() for each in logs if each.levelname == "WARNING"]
    assert len(said) == len(OMITTED[to])
    assert all(part in text for part, text in zip(OMITTED[to], said, strict=True))


def test_yolo_numbers_the_classes_of_all_splits_alike(
    folder: Path, content: Content, write: Callable[..., Path], outside: Path
) -> None:
    write(renumber(content, {"zebra": 1, "ant": 2}), "val")
    convert(folder, outside / "out", to="yolo")
    # a path of "." would be the current folder for the readers of others
    assert "path" not in yaml.safe_load((outside / "out" / "data.yaml").read_text())
    for split in ("train", "val"):
        before, after = load(folder, split), load(outside / "out", split)
        assert objects(after) == objects(before, crowds=False)
    write(renumber(content, {"zebra": 1}), "val")
    with pytest.raises(ValueError, match=r"'ant' is missing; use the same names in both"):
        convert(folder, outside / "other", to="yolo")
    assert not (outside / "other").exists()


def test_folder_with_content_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="not an empty folder"):
        convert(folder, folder, to="voc")
    with pytest.raises(ValueError, match="choose one of coco"):
        convert(folder, folder / "out", to="csv")


def test_voc_pixels_count_from_one(folder: Path, outside: Path) -> None:
    convert(folder, outside / "out", to="voc")
    for path in (outside / "out" / "Annotations").glob("*.xml"):
        path.write_text(path.read_text().replace("<filename>", "<folder>VOC</folder><filename>"))
    shifted, plain = load(outside / "out"), load(folder)
    assert (shifted.layout, plain.layout) == ("voc", "coco")
    by_corner = [sorted(each.boxes()[:, 0].tolist()) for each in (shifted, plain)]
    assert [x + 1 for x in by_corner[0]] == by_corner[1]
    assert sorted(shifted.boxes()[:, 2].tolist()) == sorted(plain.boxes()[:, 2].tolist())


NAMES = (
    "my photo 1.png", "a/x.png", "b/x.png", "a_x.png", "b/x.bmp", "猫 é.png", "v1.2.png",
    ".hidden.png", "two\nlines.png", "bell\a.png", "byte \udce9.png", "a\u2028b.png",
    "- # 'q'.png", "__MACOSX/z.png", "c&<d>.png",
)  # fmt: skip
CLASSES = (
    "null", "traffic light", "007", "on", "红 色", "a: b", "3.10", "two\nlines", "a\tb", "=", "~",
    "a & <b>", "'q' \"r\"", "- x", "y\u2028z",
)  # fmt: skip


@pytest.mark.parametrize("to", ["coco", "yolo", "voc"])
def test_names_of_any_kind_survive(
    tmp_path: Path, outside: Path, write: Callable[..., Path], to: str
) -> None:
    for folder in ("a", "b", "__MACOSX"):
        (tmp_path / "images" / folder).mkdir(parents=True)
    size = {"width": 40, "height": 30}
    content = {
        "images": [{"id": i, "file_name": name, **size} for i, name in enumerate(NAMES)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": i, "bbox": [i + 1, 3, 10, 10], "iscrowd": 0}
            for i in range(len(NAMES))
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES)],
    }
    write(content, "train")
    write(content, "val")
    convert(tmp_path, outside / "out", to=to)
    for split in ("train", "val"):
        after = load(outside / "out", split)
        assert sorted(after.class_names) == sorted(CLASSES)
        class_of = {after.boxes()[i][0]: after.class_names[k] for i, k in enumerate(after.labels)}
        assert class_of == {i + 1: name for i, name in enumerate(CLASSES)}
        originals = [(tmp_path / "images" / name).read_bytes() for name in NAMES]
        copies = [after.image_path(i).read_bytes() for i in range(len(after))]
        assert sorted(copies) == sorted(originals)


def test_classes_with_control_characters_survive_or_are_refused(
    folder: Path, content: Content, write: Callable[..., Path], outside: Path
) -> None:
    for name in ("a\x01b", "a\rb", "a\x1fb"):
        content["categories"][0]["name"] = name
        write(content, "val")
        write(content, "train")
        for to in ("coco", "yolo"):
            out = outside / f"{to} {ord(name[1])}"
            convert(folder, out, to=to)
            assert sorted(load(out).class_names) == sorted([name, "ant"])
        with pytest.raises(ValueError, match=r"the class 'a.*b' has a character that XML cannot"):
            convert(folder, outside / "voc", to="voc")
        assert not (outside / "voc").exists()


def test_missing_images_are_named_before_anything_is_written(folder: Path, outside: Path) -> None:
    (folder / "images" / "wide.png").unlink()
    with pytest.raises(ValueError, match=r"_train: the image wide\.png is missing; leave it out"):
        convert(folder, outside / "out", to="coco")
    os.mkfifo(folder / "images" / "wide.png")
    with pytest.raises(ValueError, match=r"wide\.png is not a regular file; leave it out"):
        convert(folder, outside / "out", to="coco")
    assert not (outside / "out").exists()


@pytest.mark.parametrize("to", ["yolo", "voc"])
def test_layouts_that_know_images_by_their_suffix_refuse_others(
    content: Content, write: Callable[..., Path], outside: Path, to: str
) -> None:
    path = write(content, "train")
    data = path.parents[1]
    (data / "images" / "wide.png").rename(data / "images" / "wide.000")
    content["images"][0]["file_name"] = "wide.000"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"\.000 does not end like an image, .* layout of {to}"):
        convert(data, outside / "out", to=to)
    assert not (outside / "out").exists()
    convert(data, outside / "coco", to="coco")
    assert (outside / "coco" / "images" / "train" / "wide.000").is_file()


def test_yolo_is_clipped_and_says_that_it_has_polygons(
    content: Content, write: Callable[..., Path], outside: Path
) -> None:
    content["annotations"] = content["annotations"][:1]
    content["annotations"][0]["segmentation"] = [[4.0, 6, 24, 6, 24, 16]]  # or a box with a point
    path = write(content, "train").parents[1]
    convert(path, outside / "masks", to="yolo")
    (polygon,) = load(outside / "masks", masks=True).segmentation(0)
    np.testing.assert_allclose(polygon, [4, 6, 24, 6, 24, 16], atol=1e-3)
    content["annotations"][0] |= {"bbox": [-100, 20, 200, 100], "segmentation": None}
    write(content, "train")
    convert(path, outside / "boxes", to="yolo")
    (label,) = (outside / "boxes" / "labels" / "train").glob("wide.txt")
    assert label.read_text().split() == ["1", "0.5", "0.70833333", "1", "0.58333333"]
