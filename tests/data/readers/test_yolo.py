"""YOLO data as many tools write it: read, repaired with a count, or refused with file and line."""

import math
import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from centernet2.data.readers.layouts import find_splits
from centernet2.data.readers.splits import load_split
from centernet2.pictures import save_picture
from tests.helpers.split_records import boxes, counts, read

WIDTH, HEIGHT = 40, 20
NAMES = ("ant", "bee", "cat")
ROWS = ("0 0.5 0.5 0.25 0.5", "2 0.25 0.25 0.1 0.2")
SEPARATED = "label rows with commas or semicolons"
OTHER_CASE = "label files whose name differs from the image's in upper and lower case"
NAMED = "label rows with a class name in place of its number"
BOXES = [("ant", [15, 5, 10, 10]), ("cat", [8, 3, 4, 4])]
YAML = "path: .\ntrain: images/train\nval: images/val\nnames: [ant, bee, cat]\n"


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    formats = {".jfif": "JPEG", ".xyz": "PNG"}
    Image.new("RGB", (WIDTH, HEIGHT)).save(path, formats.get(path.suffix.lower()))
    return path


def labels(path: Path, rows: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


def tree(root: Path, rows: Sequence[str] = ROWS, text: str = YAML) -> Path:
    """A data set of one image per split, with the same rows."""
    for split in ("train", "val"):
        picture(root / "images" / split / "a.png")
        labels(root / "labels" / split / "a.txt", rows)
    (root / "data.yaml").write_text(text)
    return root


def points(k: int, numbers: int) -> str:
    return "".join(" 0.5 0.5 2"[: 8 + 2 * (numbers - 2)] for _ in range(k))


@pytest.mark.parametrize("shape", ["[17, 3]", "[2, 2]", "(1, 3)", "\n- 4\n- 2"])
def test_boxes_of_pose_labels_are_the_first_four_numbers(tmp_path: Path, shape: str) -> None:
    k, numbers = (
        int(part) for part in shape.translate(str.maketrans("[](),-\n", "       ")).split()
    )
    rows = [row + points(k, numbers) for row in ROWS]
    records = read(tree(tmp_path, rows, f"{YAML}kpt_shape: {shape}\n"))
    assert boxes(records) == BOXES
    assert counts(records) == {"label rows with key points": 2}
    assert not any("segmentation" in each for each in records.content["annotations"])


def test_pose_labels_are_known_by_their_visibility(tmp_path: Path) -> None:
    records = read(tree(tmp_path, [row + points(5, 3) for row in ROWS]))
    assert boxes(records) == BOXES
    cut = [*(row + points(5, 3) for row in ROWS), ROWS[0] + points(4, 3)]
    with pytest.raises(ValueError, match=r"a\.txt, line 3: has 16 numbers after the class"):
        read(tree(tmp_path, cut))
    with pytest.raises(ValueError, match=r"line 3: .*kpt_shape \[5, 3\] of data.yaml it needs 19"):
        read(tree(tmp_path, cut, f"{YAML}kpt_shape: [5, 3]\n"))


def test_polygons_and_key_points_that_look_alike_are_refused(tmp_path: Path) -> None:
    rows = [f"{row} 0.6 0.4" for row in ROWS[:1]]  # a triangle, or a box with one point
    with pytest.raises(ValueError, match=r"line 1: .*write 'task: segment' or 'task: pose'"):
        read(tree(tmp_path, rows))
    assert boxes(read(tree(tmp_path, rows, f"{YAML}task: pose\n"))) == BOXES[:1]
    triangle = [("ant", [10, 8, 14, 2])]
    assert boxes(read(tree(tmp_path, rows, f"{YAML}task: segment\n"))) == triangle


BORDER_POLYGON = "0 0.5 0.5 0.9 0.9 0.9 0.6 1 1 0.7 0"  # every third number is 0 or 1
POLYGON = "0 0.1 0.2 0.9 0.1 0.9 0.9 0.5 0.95 0.1 0.9"


def test_few_rows_have_the_form_of_the_other_split(tmp_path: Path) -> None:
    root = tree(tmp_path, [POLYGON] * 30)
    labels(root / "labels" / "val" / "a.txt", [BORDER_POLYGON] * 3)
    for split in ("val", "train"):
        annotations = read(root, split).content["annotations"]
        assert all("segmentation" in each for each in annotations), split


def test_few_polygons_are_not_key_points_by_chance(tmp_path: Path) -> None:
    hexagon = "0 0.1 0.2 0.5 0.1 0.9 0.2 0.9 0.9 0.5 0.95 0.1 0.9"
    annotations = read(tree(tmp_path, [*[hexagon] * 3, BORDER_POLYGON])).content["annotations"]
    assert [len(each["segmentation"][0]) for each in annotations] == [12, 12, 12, 10]


@pytest.mark.parametrize("broken", ["missing", "empty list", "row"])
def test_other_split_that_is_broken_does_not_hinder(tmp_path: Path, broken: str) -> None:
    root = tree(tmp_path, [POLYGON])
    (root / "val.txt").write_text("images/val/b.png\n" if broken == "missing" else "")
    if broken != "row":
        (root / "data.yaml").write_text(YAML.replace("images/val", "val.txt"))
    labels(root / "labels" / "val" / "a.txt", ["0 0.5 x"])
    assert len(read(root).content["annotations"]) == 1
    with pytest.raises((ValueError, FileNotFoundError), match=r"(a|val)\.txt"):
        read(root, "val")


def test_corners_among_key_points_are_refused(tmp_path: Path) -> None:
    rows = [f"{ROWS[0]} 0.5 0.6 0.4 0.5", "0 0.1 0.1 0.3 0.1 0.3 0.4 0.1 0.4"]
    with pytest.raises(ValueError, match=r"a\.txt, line 2: the numbers are a polygon"):
        read(tree(tmp_path, rows, f"{YAML}kpt_shape: [2, 2]\n"))


def test_polygons_with_as_many_numbers_as_key_points_are_refused(tmp_path: Path) -> None:
    rows = [ROWS[0] + points(2, 3), "0 0.1 0.1 0.3 0.1 0.3 0.4 0.2 0.4 0.1 0.4"]
    with pytest.raises(ValueError, match=r"a\.txt, line 2: the numbers are a polygon, but kpt"):
        read(tree(tmp_path, rows, f"{YAML}kpt_shape: [2, 3]\n"))


def random_box(draw: random.Random) -> tuple[float, float, float, float]:
    w, h = draw.uniform(0.05, 0.4), draw.uniform(0.05, 0.4)
    return draw.uniform(w / 2, 1 - w / 2), draw.uniform(h / 2, 1 - h / 2), w, h


def pose(draw: random.Random) -> list[float]:
    x, y, w, h = random_box(draw)
    near = [(x + w * draw.uniform(-0.5, 0.5), y + h * draw.uniform(-0.5, 0.5)) for _ in range(6)]
    return [x, y, w, h, *(number for point in near for number in point)]


def outline(draw: random.Random) -> list[float]:
    x, y, w, h = random_box(draw)
    turns = [2 * math.pi * k / 8 for k in range(8)]
    return [z for t in turns for z in (x + w / 2 * math.cos(t), y + h / 2 * math.sin(t))]


def rotated(draw: random.Random) -> list[float]:
    x, y, w, h = random_box(draw)
    a, b = math.cos(w) * w / 3, math.sin(w) * h / 3
    return [x - a, y - b, x + b, y - a, x + a, y + b, x - b, y + a]


@pytest.mark.parametrize(("make", "is_polygon"), [(pose, False), (outline, True), (rotated, True)])
def test_rows_of_one_length_are_told_apart_by_their_shape(
    tmp_path: Path, make: Callable[[random.Random], list[float]], is_polygon: bool
) -> None:
    draw = random.Random(3)
    numbers = [make(draw) for _ in range(20)]
    rows = [f"0 {' '.join(f'{x:.6f}' for x in each)}" for each in numbers]
    root = tree(tmp_path, rows)
    labels(root / "labels" / "val" / "a.txt", rows[:1])  # told by the rows of the other split
    for split, count in (("train", 20), ("val", 1)):
        annotations = read(root, split).content["annotations"]
        assert len(annotations) == count
        assert all(("segmentation" in each) == is_polygon for each in annotations)
        x, y, w, h = numbers[0][:4]
        found = annotations[0]["bbox"]
        expected = [(x - w / 2) * WIDTH, (y - h / 2) * HEIGHT, w * WIDTH, h * HEIGHT]
        if is_polygon:
            xs, ys = numbers[0][0::2], numbers[0][1::2]
            expected = [min(xs) * WIDTH, min(ys) * HEIGHT]
        assert found[: len(expected)] == pytest.approx(expected, abs=1e-3)


def test_boxes_and_polygons_are_read_side_by_side(tmp_path: Path) -> None:
    rows = [ROWS[0], "1 0.1 0.1 0.5 0.1 0.5 0.6 0.3 0.7 0.1 0.6", "1 0.1 0.1 0.5 0.2 0.2 0.6"]
    records = read(tree(tmp_path, rows))
    assert boxes(records) == [BOXES[0], ("bee", [4, 2, 16, 12]), ("bee", [4, 2, 16, 10])]
    assert counts(records) == {"label rows with a polygon beside rows with a box": 2}


@pytest.mark.parametrize("more", [" 0.87", " 0.87 3", " 1 12"])
def test_confidences_and_tracks_are_not_used(tmp_path: Path, more: str) -> None:
    records = read(tree(tmp_path, [row + more for row in ROWS]))
    assert boxes(records) == BOXES
    assert counts(records) == {"label rows with a confidence": 2}


@pytest.mark.parametrize(("change", "kind"), [
    (lambda row: row.replace(" ", ","), SEPARATED),
    (lambda row: row.replace(" ", ", "), SEPARATED),
    (lambda row: row.replace(" ", ";"), SEPARATED),
    (lambda row: row.replace(".", ","), SEPARATED),
    (lambda row: row.replace(".", ",").replace(" ", "; "), SEPARATED),
    (lambda row: f"{NAMES[int(row[0])]}{row[1:]}", NAMED),
    (lambda row: row.replace(" ", "\t") + "  ", ""),
    (lambda row: f"{row[0]}.0{row[1:]}\r", ""),
])  # fmt: skip
def test_other_spellings_of_rows(tmp_path: Path, change: Callable[[str], str], kind: str) -> None:
    records = read(tree(tmp_path, list(map(change, ROWS))))
    assert boxes(records) == BOXES
    assert counts(records) == ({kind: 2} if kind else {})


def test_class_names_with_spaces_in_rows(tmp_path: Path) -> None:
    text = YAML.replace("bee", "traffic light")
    rows = [ROWS[0].replace("0 ", "traffic light ", 1)]
    assert boxes(read(tree(tmp_path, rows, text))) == [("traffic light", BOXES[0][1])]


@pytest.mark.parametrize(("rows", "message"), [
    (["0 50 50 25 50", "2 25 25 10 20"], "line 1: has 50 .* seem to be percent, or pixels"),
    (["0 320 240 100 50", "2 25 25 10 20"], "line 1: has 320 .* seem to be pixels"),
    ([*ROWS, ROWS[0], "1 0.5 7 0.1 0.1"], "line 4: has 7 .* correct or remove the row"),
    (["0 nan 0.5 0.1 0.1"], "line 1: 'nan' is not a number, or not a finite one"),
    (["0 0_1 0.5 0.1 0.1"], "line 1: '0_1' is not a number"),
    (["0.5 0.5 0.5 0.1 0.1"], "line 1: the class is 0.5, not a whole number"),
    (["0 0.5 0.5 0.1"], "line 1: has 3 numbers after the class"),
    ([f"{ROWS[0]} 7.5"], "line 1: has 5 numbers after the class"),
    (["1 0.5 0.5 0.1 0.1", "3 0.5 0.5 0.1 0.1"], "line 2: names class 3, .*begin with 1"),
    (["0 0.5 0.5 0.1 0.1", "3 0.5 0.5 0.1 0.1"], "line 2: names class 3, .*numbered 0 to 2"),
    (["-1 0.5 0.5 0.1 0.1"], "line 1: names class -1"),
    (["dog 0.5 0.5 0.1 0.1"] * 3, r"line 1: 'dog' is neither .*\(2 more rows"),
])  # fmt: skip
def test_wrong_rows_are_named_by_line(tmp_path: Path, rows: Sequence[str], message: str) -> None:
    with pytest.raises(ValueError, match=rf"labels/train/a\.txt, {message}"):
        read(tree(tmp_path, rows))


def test_boxes_without_extent_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = [*ROWS, "0 0.5 0.5 -0.1 0.1", "0 0.5 0.5 0.1 0"]
    records = read(tree(tmp_path, rows))
    assert boxes(records) == BOXES
    (finding,) = records.findings
    assert finding.action == "drops" and finding.total == 2
    assert finding.examples[0].text.endswith("labels/train/a.txt, line 3")


def test_split_without_objects_is_refused_with_the_places(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "labels").rename(root / "boxes")
    with pytest.raises(ValueError, match=r"has 1 images, but no usable object; .*labels/train"):
        read(root)
    with pytest.raises(ValueError, match="no usable object"):
        load_split(root, "val", masks=False)


def test_missing_files_are_counted(tmp_path: Path) -> None:
    root = tree(tmp_path)
    folder = root / "images" / "train"
    picture(folder / "background.png")
    picture(folder / "b.xyz")
    labels(root / "labels" / "train" / "b.txt", ROWS)
    labels(root / "labels" / "train" / "c.txt", ROWS)
    (folder / "damaged.jpg").write_text("no image")
    labels(root / "labels" / "train" / "damaged.txt", ROWS[:0])
    (folder / "._a.png").write_text("resource fork")
    records = read(root)
    assert boxes(records) == BOXES
    assert counts(records) == {
        "label files whose image has an unknown suffix": 1,
        "label files without an image": 1,
        "images without a label file": 1,
        "images that cannot be read": 1,
    }
    assert "b.xyz" in records.findings[0].examples[0].text


def test_folders_and_pipes_in_place_of_files_are_named(tmp_path: Path) -> None:
    tree(tmp_path)
    os.mkfifo(tmp_path / "images" / "train" / "pipe.png")
    (tmp_path / "images" / "train" / "folder.png").mkdir()
    found = {each.kind: each for each in read(tmp_path).findings}["images that cannot be read"]
    (text,) = (each.text for each in found.examples)  # of a folder, the images are read
    assert "pipe.png: the image is not a regular file; replace it" in text
    (tmp_path / "labels" / "train" / "pipe.txt").mkdir()
    (tmp_path / "images" / "train" / "pipe.png").unlink()
    picture(tmp_path / "images" / "train" / "pipe.png")
    with pytest.raises(ValueError, match=r"pipe\.txt: is a folder, where a file is needed"):
        read(tmp_path)


def test_folder_of_unknown_suffixes_is_named(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "images" / "train" / "a.png").rename(root / "images" / "train" / "a.xyz")
    with pytest.raises(ValueError, match=r"no image in .*images/train, only files .* in \.xyz"):
        read(root)


def test_validation_split_without_images_may_be_removed(tmp_path: Path) -> None:
    (tree(tmp_path) / "images" / "val" / "a.png").unlink()
    with pytest.raises(ValueError, match=r"no image in .*val; .* or remove this split and train"):
        read(tmp_path, "val")


@pytest.mark.parametrize(
    "name", ["b.JFIF", "b.jpe", "b.WebP", "b.bmp", "b.TIFF", "b.avif", "b.jp2"]
)
def test_images_of_every_suffix_are_found(tmp_path: Path, name: str) -> None:
    root = tree(tmp_path)
    picture(root / "images" / "train" / name)
    labels(root / "labels" / "train" / "b.txt", ROWS)
    assert boxes(read(root)) == BOXES * 2


def test_images_behind_links_to_folders_are_found(tmp_path: Path) -> None:
    root = tree(tmp_path / "data")
    picture(tmp_path / "camera" / "images" / "b.png")
    labels(tmp_path / "camera" / "labels" / "b.txt", ROWS)
    for kind in ("images", "labels"):
        (root / kind / "train" / "camera").symlink_to(tmp_path / "camera" / kind)
    assert boxes(read(root)) == BOXES * 2


@pytest.mark.parametrize("images", ["Images", "IMAGES", "JPEGImages"])
def test_folders_of_images_in_any_case(tmp_path: Path, images: str) -> None:
    root = tree(tmp_path)
    (root / "images").rename(root / images)
    (root / "data.yaml").write_text(YAML.replace("images", images))
    assert boxes(read(root)) == BOXES
    (root / "labels").rename(root / "Labels")
    assert boxes(read(root)) == BOXES


def test_labels_in_other_places(tmp_path: Path) -> None:
    root = tree(tmp_path)
    shutil.copy(root / "labels" / "train" / "a.txt", root / "images" / "train" / "a.txt")
    shutil.rmtree(root / "labels")
    assert boxes(read(root)) == BOXES  # beside the images
    (root / "images" / "train" / "a.txt").rename(root / "images" / "train" / "a.TXT")
    assert boxes(read(root)) == BOXES
    flat = labels(root / "labels" / "a.txt", ROWS[:1])
    (root / "images" / "train" / "a.TXT").unlink()
    assert boxes(read(root)) == BOXES[:1]  # one folder for all splits
    flat.rename(labels(root / "images" / "train" / "labels" / "a.txt", ()))
    (root / "images").rename(root / "data")
    (root / "data.yaml").write_text(YAML.replace("images/", "data/"))
    assert boxes(read(root)) == BOXES[:1]


def test_labels_below_another_folder_than_their_images(tmp_path: Path) -> None:
    """images/train/cam/a.png has its labels in Labels/Train/a.txt."""
    root = tree(tmp_path)
    for split in ("train", "val"):
        (root / "images" / split / "cam").mkdir()
        (root / "images" / split / "a.png").rename(root / "images" / split / "cam" / "a.png")
    (root / "labels" / "train").rename(root / "labels" / "Train")
    (root / "labels").rename(root / "Labels")
    assert boxes(read(root)) == boxes(read(root, "val")) == BOXES


def test_label_files_in_other_letters_are_read_and_counted(tmp_path: Path) -> None:
    root = tree(tmp_path)
    folder = root / "labels" / "train"
    (folder / "a.txt").rename(folder / "A.txt")
    records = read(root)
    assert boxes(records) == BOXES
    assert counts(records) == {OTHER_CASE: 1}
    picture(root / "images" / "train" / "A.png")  # whose labels they are
    records = read(root)
    assert boxes(records) == BOXES
    assert counts(records) == {"images without a label file": 1}


def label_studio(root: Path) -> None:
    picture(root / "images" / "a.png")
    labels(root / "labels" / "a.txt", ROWS)
    (root / "classes.txt").write_bytes("\ufeffant\r\nbee\r\ncat\r\n".encode())
    (root / "notes.json").write_text('{"categories": [{"id": 0, "name": "ant"}], "info": {}}')


def label_img(root: Path) -> None:
    picture(root / "a.png")
    labels(root / "a.txt", ROWS)
    (root / "classes.txt").write_text("ant\nbee\ncat\n")


def in_labels(root: Path) -> None:
    label_studio(root)
    (root / "classes.txt").rename(root / "labels" / "classes.txt")
    (root / "notes.json").unlink()


def cvat(root: Path) -> None:
    picture(root / "obj_train_data" / "a.png")
    labels(root / "obj_train_data" / "a.txt", ROWS)
    (root / "obj.names").write_text("ant\nbee\ncat\n")
    (root / "obj.data").write_text(
        "classes = 3\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    )
    (root / "train.txt").write_text("data/obj_train_data/a.png\n")


def darknet_lists(root: Path) -> None:
    cvat(root)
    (root / "obj.data").unlink()


def roboflow_darknet(root: Path) -> None:
    for split in ("train", "valid"):
        picture(root / split / "a.png")
        labels(root / split / "a.txt", ROWS)
        (root / split / "_darknet.labels").write_text("ant\nbee\ncat\n")


def roboflow(root: Path) -> None:
    for split in ("train", "valid"):
        picture(root / split / "images" / "a.png")
        labels(root / split / "labels" / "a.txt", ROWS)
    (root / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
        "nc: 3\nnames: ['ant', 'bee', 'cat']\nroboflow:\n  license: x\n"
    )


def in_folder(root: Path) -> None:
    tree(root / "my set", text=YAML)
    (root / "my set" / "data.yaml").rename(root / "my set" / "coco128.yaml")


def list_of_images(root: Path) -> None:
    tree(root, text=YAML.replace("images/train", "train.txt"))
    (root / "train.txt").write_text(
        "# images\n./images/train/a.png\nC:\\data\\images\\val\\a.png\n/other/images/train/no.png\n"
    )


@pytest.mark.parametrize("layout", [
    label_studio, label_img, in_labels, cvat, darknet_lists, roboflow_darknet, roboflow,
    in_folder,
])  # fmt: skip
def test_exports_are_recognized(tmp_path: Path, layout: Callable[[Path], None]) -> None:
    layout(tmp_path)
    records = read(tmp_path)
    assert boxes(records) == BOXES
    assert counts(records) == {}


def test_lists_of_images(tmp_path: Path) -> None:
    list_of_images(tmp_path)
    records = read(tmp_path)
    assert boxes(records) == BOXES * 2
    assert counts(records) == {"listed images that do not exist": 1}
    assert "train.txt, line 4" in records.findings[0].examples[0].text
    (tmp_path / "train.txt").write_text("nowhere/x.png\n")
    with pytest.raises(FileNotFoundError, match=r"train\.txt, line 1: the image nowhere/x\.png"):
        read(tmp_path)


@pytest.mark.parametrize("paths", [
    "path: C:\\Users\\me\\data\ntrain: images\\train\nval: images\\val\n",
    "path: /content/datasets/mine\ntrain: images/train\nval: images/val\n",
    "train: /content/mine/images/train\nval: /content/mine/images/val\n",
    'path: "../datasets/mine"\ntrain: ./images/train/\nvalid: [images/val]\n',
    "path: ~\ntrain: Images/Train\nvalidation: images/val\ntest:  # optional\n",
])  # fmt: skip
def test_paths_of_other_machines(tmp_path: Path, paths: str) -> None:
    root = tree(tmp_path, text=f"{paths}names: [ant, bee, cat]\ndownload: https://a.example/b\n")
    for split in ("train", "val"):
        records = read(root, split)
        assert boxes(records) == BOXES
        assert records.content["images"][0]["file_name"] == f"images/{split}/a.png"


def test_places_that_do_not_exist_are_listed(tmp_path: Path) -> None:
    root = tree(tmp_path, text=YAML.replace("images/train", "pictures/training"))
    with pytest.raises(FileNotFoundError, match=r"split 'train', 'pictures/training'.*looked for"):
        read(root)
    (root / "data.yaml").write_text("train: /x/first/val\nval: /x/second/val\nnames: [ant]\n")
    (root / "images" / "val").rename(root / "val")
    with pytest.raises(ValueError, match=r"do not exist, only .*val"):
        read(root)


@pytest.mark.parametrize(("names", "expected"), [
    ("[on, off, 007]", ["on", "off", "007"]),
    ("[yes, 1e3, 3.10]", ["yes", "1e3", "3.10"]),
    ("[null, ~, 'no']", ["null", "~", "no"]),
    ("\n  0: ant\n  '1': true\n  5: 0x1F", ["ant", "true", "0x1F"]),
    ("{2: c, 0: a, 1: 2024-01-01}", ["a", "2024-01-01", "c"]),
    ("[' ant ', 'white  bear', 猫]", ["ant", "white  bear", "猫"]),
])  # fmt: skip
def test_names_are_the_written_words(tmp_path: Path, names: str, expected: Sequence[str]) -> None:
    records = read(tree(tmp_path, ROWS[:1], YAML.replace("[ant, bee, cat]", names)))
    assert [each["name"] for each in records.content["categories"]] == expected


@pytest.mark.parametrize(("names", "message"), [
    ("[ant, bee, ant]", "classes 0 and 2 have the same name 'ant'"),
    ("[ant, '', bee]", "class 1 has an empty name"),
    ("{0: ant, 0: bee}", r"line 4: the YAML cannot be read \(the key '0' occurs twice\)"),
    ("{a: ant}", "'names' has a key that is not a number"),
    ("ant, bee", "neither a list nor a mapping"),
    ("[ant, [bee]]", "something else than texts"),
    ("[]", "there are no class names"),
    ("[ant, bee", "line 5: the YAML cannot be read"),
    ("[ant]\nkpt_shape: 3", "kpt_shape is 3"),
    (f"[ant]\nkpt_shape: [{'9' * 5000}, 3]", "kpt_shape is .*, not"),
    ("{0: ant, 00: bee}", "'names' has a key that is not a number"),
    (f"{{? '{'9' * 5000}' : ant}}", "'names' has a key that is not a number"),
])  # fmt: skip
def test_wrong_names_are_refused(tmp_path: Path, names: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.yaml.*{message}"):
        read(tree(tmp_path, text=YAML.replace("[ant, bee, cat]", names)))


@pytest.mark.parametrize("count", ["two", "3.0", "[3]", ""])
def test_number_of_classes_in_another_form_is_refused(tmp_path: Path, count: str) -> None:
    text = YAML.replace("names: [ant, bee, cat]", f"names:\nnc: {count}")
    with pytest.raises(ValueError, match=r"data\.yaml: there are no class names; add them"):
        read(tree(tmp_path, text=text))


def test_names_that_look_like_a_home_folder_are_names(tmp_path: Path) -> None:
    root = tree(tmp_path, text=YAML.replace("train: images/train", "train: train.txt"))
    (root / "train.txt").write_text("~$a.png\nimages/train/a.png\n")
    records = read(root)
    assert boxes(records) == BOXES and counts(records) == {"listed images that do not exist": 1}


def test_labels_in_a_second_folder_are_counted(tmp_path: Path) -> None:
    """They may be texts of another kind."""
    root = tree(tmp_path)
    picture(root / "images" / "train" / "b.png")
    labels(root / "images" / "train" / "b.txt", ROWS)
    records = read(root)
    assert boxes(records) == BOXES and counts(records) == {
        "images without a label file": 1,
        "label files in another folder than those of the other images": 1,
    }
    assert "images/train/b.txt" in records.findings[0].examples[0].text


def test_pictures_of_a_training_run_in_the_data_are_left_out(tmp_path: Path) -> None:
    """They would change which images are held out for validation."""
    picture(tmp_path / "a.png")
    labels(tmp_path / "a.txt", ROWS)
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\n")
    (tmp_path / "runs").mkdir()
    save_picture(Image.new("RGB", (8, 8)), tmp_path / "runs" / "batch.jpg")
    picture(tmp_path / "more" / "b.png")
    records = read(tmp_path)
    assert [Path(each["file_name"]).name for each in records.content["images"]] == [
        "a.png",
        "b.png",
    ]
    assert counts(records) == {
        "pictures that this program has drawn": 1, "images without a label file": 1,
    }  # fmt: skip


def test_hidden_files_of_macos_are_left_out(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "data.yaml").unlink()
    (root / "obj.data").write_text("names = mine.names\ntrain = images/train\nvalid = images/val\n")
    (root / "mine.names").write_text("ant\nbee\ncat\n")
    for name in ("._obj.data", "._mine.names"):
        (root / name).write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    assert boxes(read(root)) == BOXES
    (root / "obj.data").unlink()
    assert boxes(read(root)) == BOXES


@pytest.mark.parametrize("digits", [11, 5000])
def test_impossible_number_of_classes_is_refused(tmp_path: Path, digits: int) -> None:
    text = YAML.replace("names: [ant, bee, cat]", f"nc: {'9' * digits}")
    with pytest.raises(ValueError, match=r"data\.yaml: nc is 9*, not a number of classes"):
        read(tree(tmp_path, text=text))


def test_usual_keys_of_splits_take_precedence(tmp_path: Path) -> None:
    root = tree(tmp_path, text=YAML.replace("val:", "valid: images/train\nval:"))
    assert [file["file_name"] for file in read(root, "val").content["images"]] == [
        "images/val/a.png"
    ]


def test_number_of_classes_that_differs_is_said(tmp_path: Path) -> None:
    records = read(tree(tmp_path, text=f"{YAML}nc: 80\n"))
    assert counts(records) == {"nc that differs from the number of names": 1}
    records = read(tree(tmp_path, text=YAML.replace("names: [ant, bee, cat]", "nc: 3")))
    assert [name for name, _ in boxes(records)] == ["class_0", "class_2"]
    assert counts(records) == {"classes without names": 1}


def test_texts_in_legacy_encodings_are_named(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "data.yaml").write_bytes(YAML.replace("bee", "红色").encode("gbk"))
    with pytest.raises(ValueError, match=r"data\.yaml, line 4: .* is not UTF-8 .*iconv -f GBK"):
        read(root)
    (root / "data.yaml").write_bytes(YAML.replace("bee", "红色").encode("utf-16"))
    assert read(root).content["categories"][1]["name"] == "红色"


def test_one_of_several_yaml_files_is_chosen(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "args.yaml").write_text("epochs: 3\ndata: data.yaml\n")
    (root / "broken.yaml").write_text("names: [\n")
    assert boxes(read(root)) == BOXES
    for name in ("one.yaml", "two.yaml"):
        shutil.copy(root / "data.yaml", root / name)
    assert boxes(read(root)) == BOXES
    (root / "data.yaml").unlink()
    with pytest.raises(ValueError, match="several YAML files"):
        read(root)
    assert boxes(read(root / "two.yaml")) == BOXES


def test_images_that_are_listed_twice_are_used_once(tmp_path: Path) -> None:
    text = YAML.replace("images/train", "[images/train, images/train/more, list.txt]")
    root = tree(tmp_path, text=text)
    picture(root / "images" / "train" / "more" / "b.png")
    labels(root / "labels" / "train" / "more" / "b.txt", ROWS)
    (root / "list.txt").write_text("images/train/a.png\n./images/train/../train/a.png\n")
    records = read(root)
    assert boxes(records) == BOXES * 2
    assert counts(records) == {"images listed twice": 3}


def test_images_that_share_a_label_file_are_noted(tmp_path: Path) -> None:
    root = tree(tmp_path)
    picture(root / "images" / "train" / "a.jpg")
    records = read(root)
    assert boxes(records) == BOXES * 2
    assert counts(records) == {"images that share a label file with another one": 1}


def test_other_yaml_files_are_no_obstacle(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "chart.yaml").write_text("{{ name }}: x\n")
    (root / "key.yaml").write_text("? [a, b]\n: 1\n")
    (root / "colab.yaml").write_text(YAML.replace("images/", "/content/pictures/"))
    assert boxes(read(root)) == BOXES
    (root / "data.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"colab\.yaml: the images of the split 'train'"):
        read(root)


def test_data_without_class_names_is_explained(tmp_path: Path) -> None:
    label_studio(tmp_path)
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(FileNotFoundError, match="no list of class names; add a data"):
        find_splits(tmp_path)
    (tmp_path / "classes.txt").write_text("ant\n\nbee\n")
    with pytest.raises(ValueError, match=r"classes\.txt, line 2: has no class name"):
        read(tmp_path)


def test_slightly_larger_values_are_left_to_the_index(tmp_path: Path) -> None:
    records: Any = read(tree(tmp_path, ["0 0.95 0.5 0.1001 1.0001"]))
    assert len(records.content["annotations"]) == 1


@pytest.mark.parametrize(("rows", "form"), [
    (["0 0.5 0.5 0.9 0.9", "0 0.6 0.6 0.95 0.8", "1 0.7 0.5 0.9 0.6"], "the corners"),
    ([f"0 {k / 24} 0.1 0.2 0.2" for k in range(19)] + ["0 0 0 1 1"], "the upper left corner"),
])  # fmt: skip
def test_other_forms_of_boxes_are_refused(tmp_path: Path, rows: Sequence[str], form: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.txt, line \d: the box exceeds .*to be {form}"):
        read(tree(tmp_path, rows))


def test_boxes_beyond_a_border_are_left_to_the_index(tmp_path: Path) -> None:
    rows = ["0 0.05 0.5 0.2 0.2", "0 0.05 0.2 0.2 0.2", "1 0.9 0.9 0.3 0.1"]
    assert len(read(tree(tmp_path, rows)).content["annotations"]) == 3


def test_lists_of_classes(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "data.yaml").unlink()
    for split in ("train", "val"):
        (root / "labels" / split / "classes.txt").write_text("0 ant\n1 bee\n2 cat\n")
    assert boxes(read(root)) == BOXES
    (root / "labels" / "val" / "classes.txt").write_text("bee\nant\ncat\n")
    with pytest.raises(ValueError, match=r"classes\.txt list different classes"):
        read(root)
    (root / "classes.txt").write_text("ant\nbee\ncat\n")
    assert boxes(read(root)) == BOXES


def test_validation_on_the_training_images_is_possible(tmp_path: Path) -> None:
    root = tree(tmp_path, text=YAML.replace("images/val", "./images/train/"))
    assert boxes(read(root, "val")) == boxes(read(root)) == BOXES


@pytest.mark.parametrize("text", [
    '["ant", "bee", "cat"]', "ant, bee, cat", "names: [ant, bee, cat]", '{"0": "ant"}',
    '"ant"\n"bee"\n"cat"', "ant,\nbee,\ncat", "# classes\nant\nbee\ncat",
])  # fmt: skip
def test_class_lists_in_another_syntax_are_refused(tmp_path: Path, text: str) -> None:
    (tree(tmp_path) / "data.yaml").unlink()
    (tmp_path / "classes.txt").write_text(f"{text}\n")
    with pytest.raises(ValueError, match=r"classes\.txt, line 1: .* is not the name of one class"):
        load_split(tmp_path, "train", masks=False)


@pytest.mark.parametrize("text", ["1 ant\n2 bee\n3 cat", "ant:0\nbee:1\ncat:2"])
def test_numbers_in_class_lists_are_refused(tmp_path: Path, text: str) -> None:
    (tree(tmp_path) / "data.yaml").unlink()
    (tmp_path / "classes.txt").write_text(f"{text}\n")
    with pytest.raises(ValueError, match=r"classes\.txt: the .* number"):
        load_split(tmp_path, "train", masks=False)


@pytest.mark.parametrize("text", ["1 euro\n2 euro\n5 euro", "traffic light\nstop sign\nBB-8"])
def test_names_with_numbers_and_spaces_are_names(tmp_path: Path, text: str) -> None:
    (tree(tmp_path) / "data.yaml").unlink()
    (tmp_path / "classes.txt").write_text(f"{text}\n")
    assert load_split(tmp_path, "train", masks=False).class_names == tuple(text.split("\n"))


def test_two_label_files_of_one_image_are_refused(tmp_path: Path) -> None:
    labels(tree(tmp_path) / "labels" / "train" / "a.TXT", ROWS)
    with pytest.raises(ValueError, match=r"a\.TXT and a\.txt are label files of one image"):
        load_split(tmp_path, "train", masks=False)


def test_crops_of_a_split_without_labels_are_images(tmp_path: Path) -> None:
    """`predict --write crops` makes such pictures; their labels may have been forgotten."""
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [ant]\n")
    (tmp_path / "images").mkdir()
    save_picture(Image.new("RGB", (8, 8)), tmp_path / "images" / "crop.jpg")
    with pytest.raises(ValueError, match=r"'train' has 1 images, but .*label files NAME\.txt were"):
        read(tmp_path)
