import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from centernet2.data.check import examine_dataset, write_repaired
from tests.helpers.data import Content


def test_problems_of_image_files(
    content: Content, write: Callable[..., Path], tmp_path: Path
) -> None:
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
        ("val", "images that are also in train"): 1,
        ("val", "no objects"): 1,
    }
    written = write_repaired(examination.splits, tmp_path / "fixed.json")
    assert {path.name for path in written} == {"fixed_train.json", "fixed_val.json"}
    assert [
        image["id"] for image in json.loads((tmp_path / "fixed_train.json").read_text())["images"]
    ] == [30]
    assert "32 x 32" in (tmp_path / "fixed_train.changes.txt").read_text()


@pytest.mark.parametrize("spoil", ["no categories", "no JSON"])
def test_training_does_not_need_the_test_split(
    content: Content, write: Callable[..., Path], tmp_path: Path, spoil: str
) -> None:
    for split in ("train", "val"):
        write(content, split)
    (tmp_path / "annotations" / "instances_test.json").write_text(
        json.dumps({**content, "categories": []}) if spoil == "no categories" else "{"
    )
    found = [each for each in examine_dataset(tmp_path).findings if each.split == "test"]
    assert {each.action for each in found} <= {"keeps", "drops", "note"}
    said = [each for each in found if each.advice.startswith("training does not read this split")]
    assert "instances_test.json: not a JSON" in said[0].examples[0].text or len(said) > 1


REFUSED = {
    "bad_image_id", "duplicate_ids", "nan_box", "unknown_category", "xyxy_mixup", "no_annotations",
}  # fmt: skip
FINE = {"ok"}
UNREADABLE = {"empty", "missing_images_key", "not_json"}


@pytest.mark.parametrize(
    "name", sorted(REFUSED | FINE | UNREADABLE | {"box_outside", "negative_size_box"})
)
def test_real_broken_files(shared: Path, tmp_path: Path, name: str) -> None:
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


def test_real_broken_images(shared: Path, tmp_path: Path) -> None:
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
    # a lenient decoder leaves the rest of a cut file gray
    assert found.pop("unreadable images") in (2, 3)
    assert found.pop("images of another size than annotated") in (3, 4)
    assert found == {
        "images rotated by EXIF": 1,
        "images that are not 8-bit grayscale or RGB": 4,
        "no validation split": 1,
    }
