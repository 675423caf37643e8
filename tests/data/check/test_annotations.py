"""The doctor of data sets: what it finds, and that the repaired copy is free of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from centernet2.cli import app
from centernet2.data import FitShortestEdge
from centernet2.data.check import (
    Examination,
    ExaminedSplit,
    check_annotations,
    examine_dataset,
    repair,
    write_repaired,
)
from centernet2.data.readers.coco import load_coco
from centernet2.report.dataset_page import FirstStageSizes, write_dataset_page

SIZES = FirstStageSizes(
    "small", FitShortestEdge(length=80, max_size=133), {"p3": (0.0, 64.0), "p4": (48.0, 1e9)}
)
Content = dict[str, list[dict[str, Any]]]


def faults(content: Content) -> dict[str, tuple[int, str]]:
    return {
        each.kind: (each.total, each.action)
        for each in check_annotations(content, "train")
        if each.action != "note"
    }


def change(content: Content, row: int, **values: Any) -> Content:
    content["annotations"][row] |= values
    return content


NOT_NUMBERS = "boxes that are not four finite numbers"
FAULTS: dict[str, tuple[Callable[[Content], Any], str, str]] = {
    "not a number": (lambda c: change(c, 0, bbox=[float("nan"), 1, 2, 3]), NOT_NUMBERS, "refuses"),
    "three numbers": (lambda c: change(c, 0, bbox=[1, 2, 3]), NOT_NUMBERS, "refuses"),
    "no box": (lambda c: c["annotations"][0].pop("bbox"), NOT_NUMBERS, "refuses"),
    "negative": (lambda c: change(c, 0, bbox=[30, 30, -4, 5]), "boxes without positive width and height", "drops"),
    "empty": (lambda c: change(c, 0, bbox=[3, 3, 0, 5]), "boxes without positive width and height", "drops"),
    "outside": (lambda c: change(c, 0, bbox=[300, 3, 10, 5]), "boxes wholly outside their image", "drops"),
    "reaching out": (lambda c: change(c, 0, bbox=[-8, 3, 30, 5]), "boxes that reach outside their image", "repairs"),
    "unknown class": (lambda c: change(c, 0, category_id=99), "unknown categories", "refuses"),
    "unknown image": (lambda c: change(c, 0, image_id=99), "unknown images", "refuses"),
    "same id": (lambda c: change(c, 0, id=2), "duplicate annotation ids", "refuses"),
    "same image id": (lambda c: c["images"][0].update(id=10), "duplicate image ids", "refuses"),
    "same box": (
        lambda c: c["annotations"].append({**c["annotations"][0], "id": 9}), "boxes that stand twice", "keeps",
    ),
    "same file": (lambda c: c["images"][0].update(file_name="tall.png"), "image files named twice", "keeps"),
    "nothing": (lambda c: c["annotations"].clear(), "no objects at all", "refuses"),
}  # fmt: skip


def test_a_good_file_has_no_faults(content: Content) -> None:
    assert faults(content) == {}
    notes = {each.kind for each in check_annotations(content, "train")}
    assert notes == {"images without an object", "category ids with gaps"}


def test_each_gap_between_category_ids_is_counted(content: Content) -> None:
    content["categories"].append({"id": 4, "name": "bee"})
    gaps = next(
        each
        for each in check_annotations(content, "train")
        if each.kind == "category ids with gaps"
    )
    assert (gaps.total, gaps.action, [place.text for place in gaps.examples]) == (
        1,
        "note",
        ["after 4 comes 7"],
    )


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_and_said_alone(content: Content, name: str) -> None:
    spoil, kind, action = FAULTS[name]
    spoil(content)
    found = faults(content)
    if name == "same image id":  # its annotations have lost their image
        assert found.pop("unknown images") == (3, "refuses")
    assert found == {kind: (1, action)}


@pytest.mark.parametrize(
    "name", [name for name in FAULTS if name not in ("nothing", "same box", "same file")]
)
def test_the_repaired_copy_can_be_trained_on(content: Content, name: str, tmp_path: Path) -> None:
    FAULTS[name][0](content)
    repaired, changes = repair(content)
    assert faults(repaired) == {} and changes
    path = tmp_path / "repaired.json"
    path.write_text(json.dumps(repaired))
    assert len(load_coco(path, tmp_path, name="repaired")) >= 2


INCOMPLETE: dict[str, Callable[[Content], Any]] = {
    "image without id": lambda c: c["images"][0].pop("id"),
    "image without width": lambda c: c["images"][0].pop("width"),
    "image without height to speak of": lambda c: c["images"][0].update(height=0),
    "image without name": lambda c: c["images"][0].pop("file_name"),
    "image id in words": lambda c: c["images"][0].update(id="x"),
    "annotation without id": lambda c: c["annotations"][0].pop("id"),
    "image id in a list": lambda c: change(c, 0, image_id=[1]),
    "no category": lambda c: c["annotations"][0].pop("category_id"),
    "category without name": lambda c: c["categories"][0].pop("name"),
    "category id twice": lambda c: c["categories"][0].update(id=3),
    "numbers in place of records": lambda c: c["images"].append(1),  # type: ignore[arg-type]
    "area in words": lambda c: change(c, 0, area="large"),
    "no categories": lambda c: c.pop("categories"),
}


def examine_without_images(content: Content) -> Examination:
    return Examination(
        {"train": ExaminedSplit(content, Path("nowhere"), [])}, check_annotations(content, "train")
    )


@pytest.mark.parametrize("name", INCOMPLETE)
def test_what_training_refuses_is_found_and_repaired(
    content: Content, name: str, tmp_path: Path
) -> None:
    INCOMPLETE[name](content)
    path = tmp_path / "spoilt.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"spoilt\.json"):
        load_coco(path, tmp_path, name="spoilt")
    assert "refuses" in {action for _, action in faults(content).values()}
    write_dataset_page(
        examine_without_images(content), tmp_path / "report", title=name, first_stage=SIZES
    )
    repaired, changes = repair(content)
    assert changes
    if name != "no categories":
        assert (
            "refuses" not in {action for _, action in faults(repaired).values()}
            or not repaired["annotations"]
        )
        path.write_text(json.dumps(repaired))
        load_coco(path, tmp_path, name="repaired")


def test_corners_are_recognised_and_turned_into_sizes(content: Content) -> None:
    before = json.loads(json.dumps(content))
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["bbox"] = [x, y, x + w, y + h]
    assert "corners in place of width and height" in faults(content)
    repaired, changes = repair(content)
    assert [a["bbox"] for a in repaired["annotations"]] == [
        a["bbox"] for a in before["annotations"]
    ]
    assert len(changes) == 4


def test_image_files(content: Content, write: Callable[..., Path], tmp_path: Path) -> None:
    write(content, "train")
    second = {
        **content,
        "images": [{"id": 1, "file_name": "again.jpg", "width": 64, "height": 48}],
        "annotations": [],
    }
    write(second, "val")
    images = tmp_path / "images"
    patches = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(patches).resize((64, 48), Image.Resampling.BICUBIC)
    picture.save(images / "wide.png")
    picture.save(images / "again.jpg", quality=60)
    (images / "tall.png").write_bytes((images / "tall.png").read_bytes()[:60])
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(images / "empty.png")
    examination = examine_dataset(tmp_path)
    found = {
        (each.split, each.kind): each.total
        for each in examination.findings
        if each.action != "note"
    }
    assert found == {
        ("train", "unreadable images"): 1,
        ("train", "images of another size than annotated"): 1,
        ("val", "pictures that are in train too"): 1,
    }
    written = write_repaired(examination.splits, tmp_path / "fixed.json")
    assert {path.name for path in written} == {"fixed_train.json", "fixed_val.json"}
    assert [
        image["id"] for image in json.loads((tmp_path / "fixed_train.json").read_text())["images"]
    ] == [30]
    assert "32 x 32" in (tmp_path / "fixed_train.changes.txt").read_text()


def test_the_command(
    content: Content, write: Callable[..., Path], tmp_path: Path, capsys: Any
) -> None:
    write(content)
    app(
        ["check", str(tmp_path), "--report", str(tmp_path / "report")],
        exit_on_error=False,
        result_action="return_value",
    )
    assert "nothing wrong was found" in capsys.readouterr().out
    page = (tmp_path / "report" / "report.html").read_text()
    assert "zebra" in page and "http" not in page.replace("http://www.w3.org", "")
    write(change(content, 0, category_id=99))
    with pytest.raises(SystemExit) as stop:
        app(
            ["check", str(tmp_path), "--no-report", "--fix", str(tmp_path / "fixed.json")],
            exit_on_error=False,
        )
    assert stop.value.code == 2
    assert (
        tmp_path / "fixed.changes.txt"
    ).read_text() == "annotation 1 removed: there is no category 99\n"


REFUSED = {
    "bad_image_id",
    "duplicate_ids",
    "nan_box",
    "unknown_category",
    "xyxy_mixup",
    "no_annotations",
}
FINE = {"ok"}
UNREADABLE = {"empty", "missing_images_key", "not_json"}


@pytest.mark.parametrize(
    "name", sorted(REFUSED | FINE | UNREADABLE | {"box_outside", "negative_size_box"})
)
def test_real_faulty_files(shared: Path, tmp_path: Path, name: str) -> None:
    path = shared / "data" / "broken" / f"{name}.json"
    if name in UNREADABLE:
        with pytest.raises(ValueError, match=str(path)):
            examine_dataset(path)
        return
    examination = examine_dataset(path)
    assert examination.is_clean == (name in FINE)
    assert any(each.action == "refuses" for each in examination.findings) == (name in REFUSED)
    (written,) = write_repaired(examination.splits, tmp_path / "fixed.json")
    again = examine_dataset(written)
    assert again.is_clean or name == "no_annotations"


def test_real_faulty_images(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "broken"
    files = sorted(path.name for path in folder.iterdir() if path.suffix in (".jpg", ".png"))
    images = [
        {"id": i, "file_name": name, "width": 160, "height": 120} for i, name in enumerate(files)
    ]
    boxes = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 1, 1], "area": 1}
        for i in range(len(files))
    ]
    path = tmp_path / "all.json"
    path.write_text(
        json.dumps(
            {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cell"}]}
        )
    )
    for image in images:
        (tmp_path / str(image["file_name"])).symlink_to(folder / str(image["file_name"]))
    found = {each.kind: each.total for each in examine_dataset(path).findings}
    assert found.pop("unreadable images") in (
        2,
        3,
    )  # a lenient decoder leaves the rest of a cut file grey
    assert found.pop("images of another size than annotated") in (3, 4)
    assert found == {"images turned by EXIF": 1, "images that are not 8-bit grey or RGB": 4}
