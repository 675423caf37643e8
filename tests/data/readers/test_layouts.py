"""The same three images and their objects, written as different tools write them."""

import copy
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from centernet2.data import concatenate
from centernet2.data.readers import layouts
from centernet2.data.readers.layouts import find_splits
from centernet2.data.readers.splits import divide, load_split

SPLITS = ("train", "val")
BOXES = [[4, 6, 24, 16], [30, 20, 38, 28]]  # xyxy, of wide.png
POLYGON = [4.0, 6.0, 24.0, 6.0, 24.0, 16.0, 4.0, 16.0]


def pixels(folder: Path, content: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for record in content["images"]:
        size = (record["height"], record["width"], 3)
        Image.fromarray(np.zeros(size, np.uint8)).save(folder / Path(record["file_name"]).name)


def annotate(path: Path, content: Any, name: Callable[[str], str] = str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    renamed = copy.deepcopy(content)
    for record in renamed["images"]:
        record["file_name"] = name(record["file_name"])
    path.write_text(json.dumps(renamed))


# layout -> annotation file, image folder and file name of each split and image
COCO = {
    "COCO 2017": ("annotations/instances_{}2017.json", "{}2017", "{}"),
    "coco2017/": ("coco2017/annotations/instances_{}2017.json", "coco2017/{}2017", "{}"),
    "own folder": ("annotations/instances_{}.json", "images", "{}"),
    "Objects365": (
        "annotations/zhiyuan_objv2_{}.json", "{}/patch8", "images/v1/patch8/{}",
    ),
    "nuImages": (
        "annotations/nuimages_v1.0-{}.json", "samples/CAM_BACK", "samples/CAM_BACK/{}",
    ),
}  # fmt: skip


def coco(root: Path, content: Any, layout: str) -> None:
    file, images, name = COCO[layout]
    for split in SPLITS:
        annotate(root / file.format(split), content, name.format)
        captions = file.format(split).replace("instances", "captions")
        annotate(root / captions, content, name.format)
        pixels(root / images.format(split), content)


def roboflow(root: Path, content: Any) -> None:
    for split in ("train", "valid", "test"):
        annotate(root / split / "_annotations.coco.json", content)
        pixels(root / split, content)


def unpacked(root: Path, content: Any) -> None:
    """An export in the folder of its archive."""
    roboflow(root / "boxes.v1-coco", content)


def lvis(root: Path, content: Any) -> None:
    addressed = copy.deepcopy(content)
    for record in addressed["images"]:
        record["coco_url"] = f"http://images.example/train2017/{record.pop('file_name')}"
    for split in SPLITS:
        path = root / f"lvis_v1_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(addressed))
    pixels(root / "train2017", content)


def yolo(root: Path, content: Any, *, polygons: bool = False) -> None:
    root.mkdir(exist_ok=True)
    (root / "data.yaml").write_text(
        "path: .\ntrain: images/train\nval: images/val\nnames: [ant, zebra]\n"
    )
    lines = ["1 0.21875 0.2291666667 0.3125 0.2083333333", "0 0.53125 0.5 0.125 0.1666666667"]
    if polygons:
        points = " ".join(str(p / (64, 48)[i % 2]) for i, p in enumerate(POLYGON))
        lines[0] = f"1 {points}"
    for split in SPLITS:
        pixels(root / "images" / split, content)
        (root / "labels" / split).mkdir(parents=True)
        (root / "labels" / split / "wide.txt").write_text("\n".join(lines))
        (root / "labels" / split / "empty.txt").write_text("")


def yolo_polygons(root: Path, content: Any) -> None:
    yolo(root, content, polygons=True)


def xml(name: str, boxes: Any, *, database: str = "") -> str:
    shift = 1 if database else 0
    objects = "".join(
        f"<object><name>{kind}</name><difficult>0</difficult><bndbox><xmin>{b[0] + shift}</xmin>"
        f"<ymin>{b[1] + shift}</ymin><xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox></object>"
        for kind, b in boxes
    )
    source = f"<source><database>{database}</database></source>" if database else ""
    return f"<annotation><filename>{name}</filename>{source}{objects}</annotation>"


def voc_folder(root: Path, content: Any, *, database: str = "") -> None:
    pixels(root / "JPEGImages", content)
    (root / "Annotations").mkdir()
    for record in content["images"]:
        boxes = (
            list(zip(("zebra", "ant"), BOXES, strict=True))
            if record["file_name"] == "wide.png"
            else []
        )
        path = root / "Annotations" / Path(record["file_name"]).with_suffix(".xml")
        path.write_text(xml(record["file_name"], boxes, database=database))
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for split in SPLITS:
        (lists / f"{split}.txt").write_text("tall\nempty\nwide\n")


def voc_devkit(root: Path, content: Any) -> None:
    (root / "VOCdevkit").mkdir(parents=True)
    voc_folder(root / "VOCdevkit" / "VOC2012", content, database="The VOC2007 Database")


def voc_beside(root: Path, content: Any) -> None:
    for split in SPLITS:
        pixels(root / split, content)
        (root / split / "wide.xml").write_text(
            xml("wide.png", zip(("zebra", "ant"), BOXES, strict=True))
        )
        for name in ("tall", "empty"):
            (root / split / f"{name}.xml").write_text(xml(f"{name}.png", []))


LAYOUTS = {name: partial(coco, layout=name) for name in COCO} | {
    each.__name__: each
    for each in (roboflow, unpacked, lvis, yolo, yolo_polygons, voc_folder, voc_devkit, voc_beside)
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("split", SPLITS)
def test_layouts_are_recognized(tmp_path: Path, content: Any, layout: str, split: Any) -> None:
    content["annotations"] = [each for each in content["annotations"] if not each["iscrowd"]]
    LAYOUTS[layout](tmp_path / "data", content)
    dataset = load_split(tmp_path / "data", split, masks=layout == "yolo_polygons")
    assert dataset.class_names == ("ant", "zebra")
    assert len(dataset) == 3
    assert all(dataset.image_path(i).is_file() for i in range(3))
    wide = next(i for i in range(3) if dataset.image_path(i).name == "wide.png")
    assert dataset.size(wide) == (48, 64)
    rows = slice(*dataset.offsets[wide : wide + 2])
    assert dataset.boxes(rows).round(4).tolist() == BOXES
    assert dataset.labels[rows].tolist() == [1, 0]
    assert len(dataset.labels) == 2
    if dataset.masks is not None:
        assert np.round(dataset.segmentation(rows.start), 4).tolist() == [POLYGON]


def test_data_of_this_folder_go_before_those_of_folders_below(tmp_path: Path, content: Any) -> None:
    """One undivided COCO file before a copy as Pascal VOC; data.yaml before an older export."""
    annotate(tmp_path / "both" / "coco" / "result.json", content)
    (tmp_path / "both" / "voc").mkdir()
    voc_folder(tmp_path / "both" / "voc", content)
    assert {each.layout for each in find_splits(tmp_path / "both").values()} == {"coco"}
    yolo(tmp_path / "newer", content)
    roboflow(tmp_path / "newer" / "old", content)
    assert {each.layout for each in find_splits(tmp_path / "newer").values()} == {"yolo"}


def test_a_link_to_itself_is_no_folder(tmp_path: Path, content: Any) -> None:
    annotate(tmp_path / "coco" / "result.json", content)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    assert {each.layout for each in find_splits(tmp_path).values()} == {"coco"}


SINGLE = {
    "CVAT": ("annotations/instances_default.json", "images/default", str),
    "Label Studio": ("result.json", "images", lambda name: f"images/{name}"),
    "Label Studio, local files": ("result.json", "images",
                                  lambda name: f"/data/local-files/?d=some/images/{name}"),
    "capital letters": ("annotations.json", "Images/Default", str),
    "folder of PNG files": ("annotations.json", "PNGImages", str),
    "Windows": ("labels.json", "images", lambda name: f"C:\\data\\images\\{name}"),
}  # fmt: skip


@pytest.mark.parametrize("tool", SINGLE)
@pytest.mark.parametrize("as_file", [True, False])
def test_single_files(tmp_path: Path, content: Any, tool: str, as_file: bool) -> None:
    file, folder, name = SINGLE[tool]
    annotate(tmp_path / file, content, name)
    pixels(tmp_path / folder, content)
    path = tmp_path / file if as_file else tmp_path
    options: dict[str, Any] = {"masks": False, "val_fraction": 0.3, "seed": 5}
    train, val = (load_split(path, split, **options) for split in SPLITS)
    assert sorted(train.image_ids.tolist() + val.image_ids.tolist()) == [10, 20, 30]
    assert all(train.image_path(i).is_file() for i in range(2))
    assert len(load_split(path, "val", masks=False)) == 3  # evaluation of all
    with pytest.raises(ValueError, match="--val-fraction"):
        load_split(path, "train", masks=False)


def test_large_files_of_any_first_key_are_recognized(
    tmp_path: Path, content: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layouts, "SMALL_JSON", 200)
    content = {"made_by": "centernet2 check", **content}
    annotate(tmp_path / "train.json", content)
    (tmp_path / "other.json").write_text(json.dumps({"shapes": "x" * 1000}))
    assert find_splits(tmp_path)["train"].annotations == tmp_path / "train.json"


@pytest.mark.parametrize("beside", [False, True])
def test_key_points_are_read_where_nothing_else_is(
    tmp_path: Path, content: Any, beside: bool
) -> None:
    """CVAT exports key points as person_keypoints_default.json, with boxes."""
    coco(tmp_path, content, "own folder")
    for split in SPLITS:
        path = tmp_path / "annotations" / f"instances_{split}.json"
        other = path.with_name(f"person_keypoints_{split}2030.json")
        other.write_text(path.read_text()) if beside else path.rename(other)
    found = find_splits(tmp_path)["train"].annotations.name
    assert found == ("instances_train.json" if beside else "person_keypoints_train2030.json")
    assert len(load_split(tmp_path, "train", masks=False)) == 3


@pytest.mark.parametrize("layout", [yolo, voc_folder])
def test_undivided_file_in_a_subfolder_may_be_other_data(
    tmp_path: Path, content: Any, layout: Callable[[Path, Any], None]
) -> None:
    layout(tmp_path / "data", content)
    before = find_splits(tmp_path / "data")
    annotate(tmp_path / "data" / "old" / "annotations.json", content)
    assert find_splits(tmp_path / "data") == before
    for split in SPLITS:
        annotate(tmp_path / "data" / split / "_annotations.coco.json", content)
    assert find_splits(tmp_path / "data")["train"].layout == "coco"


OTHER_FORMATS = {  # file and content -> what the refusal says
    "data.zip": ("", "it holds data.zip, an archive; unpack it, and give the folder"),
    "train/_annotations.csv": (
        "filename,width",
        "it holds train/_annotations.csv, a table; export",
    ),
    "train.record": ("", "it holds train.record, a file of TensorFlow; export"),
    "train-00000.parquet": ("", "it holds train-00000.parquet, a table; export"),
    "tall.json": (
        '{"shapes": [], "imagePath": "tall.png"}',
        "it holds tall.json, a file of LabelMe; export",
    ),
    "all.json": (
        '[{"image": "a.png", "annotations": [{"label": "x", "coordinates": {}}]}]',
        "it holds all.json, a file of CreateML; export",
    ),
    "notes.txt": ("", "it holds images, but no annotations; add these as COCO, YOLO or"),
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_other_formats_are_named(tmp_path: Path, content: Any, name: str) -> None:
    pixels(tmp_path / "images", content)
    text, message = OTHER_FORMATS[name]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(FileNotFoundError, match=f"no data set was recognized; .*{message}"):
        find_splits(tmp_path)
    if name != "notes.txt":
        says = message.partition(", a")[2]
        with pytest.raises(ValueError, match=rf"not a known kind .*; it is a.*{says}"):
            find_splits(path)


def test_missing_split_is_named_with_those_that_exist(tmp_path: Path, content: Any) -> None:
    coco(tmp_path, content, "own folder")
    (tmp_path / "annotations" / "instances_train.json").unlink()
    with pytest.raises(ValueError, match=r"no train split, only val \(.*instances_val\.json\)"):
        load_split(tmp_path, "train", masks=False)


def test_validation_split_is_required_or_made(tmp_path: Path, content: Any) -> None:
    coco(tmp_path, content, "own folder")
    (tmp_path / "annotations" / "instances_val.json").unlink()
    assert len(load_split(tmp_path, "train", masks=False)) == 3
    with pytest.raises(ValueError, match=r"no validation split, only train.*--val-fraction"):
        load_split(tmp_path, "val", masks=False)
    assert len(load_split(tmp_path, "train", masks=False, val_fraction=0.3)) == 2
    val = load_split(tmp_path, "val", masks=False, val_fraction=0.3)
    assert len(val) == 1 and val.divided


@pytest.mark.parametrize("count", [2, 3, 10, 1000])
def test_division_is_repeatable_and_complete(count: int) -> None:
    train, val = divide(count, 0.2, seed=3)
    assert sorted([*train, *val]) == list(range(count))
    assert len(val) == max(1, round(0.2 * count))
    assert [part.tolist() for part in divide(count, 0.2, seed=3)] == [train.tolist(), val.tolist()]


def test_one_image_is_not_divided(tmp_path: Path, content: Any) -> None:
    content["images"] = content["images"][:1]
    content["annotations"] = content["annotations"][:1]
    annotate(tmp_path / "all.json", content)
    pixels(tmp_path / "images", content)
    with pytest.raises(ValueError, match=r"all\.json: one image cannot be divided"):
        load_split(tmp_path, "train", masks=False, val_fraction=0.5)


def test_unreadable_data_sets_are_named(tmp_path: Path, content: Any) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_split(tmp_path / "nowhere", "train", masks=False)
    with pytest.raises(FileNotFoundError, match=r"no data set was recognized.*COCO.*YOLO.*VOC"):
        load_split(tmp_path, "train", masks=False)
    annotate(tmp_path / "a.json", content)
    with pytest.raises(
        FileNotFoundError, match=r"a\.json: its images were not found, such as .*tall\.png"
    ):
        load_split(tmp_path, "train", masks=False, val_fraction=0.5)
    annotate(tmp_path / "b.json", content)
    with pytest.raises(ValueError, match=r"several annotation files were .*a\.json.*b\.json"):
        load_split(tmp_path, "val", masks=False)
    with pytest.raises(ValueError, match="must be at least 0 and below 1"):
        load_split(tmp_path, "val", masks=False, val_fraction=1.5)


@pytest.mark.parametrize(("path", "images"), [
    ("coco_tiny/coco2017", 50),
    ("coco_tiny", 50),
    ("coco_tiny/coco2017/annotations/instances_val2017.json", 50),
    ("bccd", 72),
])  # fmt: skip
def test_real_data(shared: Path, path: str, images: int) -> None:
    assert len(load_split(shared / "data" / path, "val", masks=False)) == images


def test_layout_rather_than_name_selects_voc(tmp_path: Path, content: Any) -> None:
    content["annotations"] = [each for each in content["annotations"] if not each["iscrowd"]]
    coco(tmp_path / "voc_like", content, "own folder")
    assert load_split(tmp_path / "voc_like", "val", masks=False).layout == "coco"
    voc_folder(tmp_path / "birds", content)
    dataset = load_split(tmp_path / "birds", "val", masks=False)
    assert dataset.layout == dataset.subset(np.arange(1)).layout == "voc"
    assert concatenate([dataset, dataset]).layout == "voc"
