"""Grids of pictures of data sets, on disk."""

import json
from pathlib import Path

import pytest
from PIL import Image

from centernet2.jobs.show import show
from centernet2.outputs import is_own_picture
from centernet2.pictures import FILE_FORMATS
from tests.helpers.training import SMALL, write_blocks


def test_grid_with_augmentation_and_heat_maps(data: Path, tmp_path: Path) -> None:
    plain, full = tmp_path / "plain.png", tmp_path / "full.png"
    show(data, output=plain, config=SMALL, count=2)
    show(data, output=full, config=SMALL, count=2, augmented=True, targets=True)
    with Image.open(plain) as small, Image.open(full) as large:
        assert large.height > small.height
        colors = large.convert("RGB").getcolors(2**24) or []
    hot = [color for _, color in colors if color[0] > 200 and color[1] < 80 and color[2] < 60]
    assert hot, "the peak of an object"


def test_seed_chooses_the_images(data: Path, tmp_path: Path) -> None:
    grids = {}
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        show(data, output=tmp_path / f"{name}.png", config=SMALL, count=2, seed=seed)
        grids[name] = (tmp_path / f"{name}.png").read_bytes()
    assert grids["one"] == grids["again"] != grids["other"]


@pytest.mark.parametrize("suffix", FILE_FORMATS)
def test_format_follows_the_suffix(data: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / "new" / f"grid{suffix}"
    show(data, output=output, config=SMALL, count=1)
    with Image.open(output) as grid:
        assert grid.format == FILE_FORMATS[suffix]
    assert is_own_picture(output)


def test_wrong_split_and_suffix_are_named(tmp_path: Path) -> None:
    data = write_blocks(tmp_path)
    (data / "annotations" / "instances_val.json").unlink()
    with pytest.raises(ValueError, match="has no val split, only train"):
        show(data, output=tmp_path / "a.png", config=SMALL, split="val")
    with pytest.raises(ValueError, match=r"must end in \.jpg"):
        show(data, output=tmp_path / "a.txt", config=SMALL)


@pytest.mark.parametrize(("option", "value"), [("count", 0), ("count", -1), ("seed", -1)])
def test_impossible_numbers_are_named(data: Path, tmp_path: Path, option: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{option} is {value}; it takes a whole number"):
        show(data, output=tmp_path / "a.png", config=SMALL, **{option: value})


def test_copy_paste_reads_masks_as_training_does(tmp_path: Path) -> None:
    data, words = write_blocks(tmp_path), ("INPUT.COPY_PASTE", "1.0")
    plain, pasted = tmp_path / "plain.png", tmp_path / "pasted.png"
    with pytest.raises(ValueError, match="no object has a mask"):
        show(data, *words, output=pasted, config=SMALL)
    path = data / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    for each in content["annotations"]:
        x, y, width, height = each["bbox"]
        each["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    path.write_text(json.dumps(content))
    show(data, output=plain, config=SMALL, augmented=True)
    show(data, *words, output=pasted, config=SMALL, augmented=True)
    assert pasted.read_bytes() != plain.read_bytes()
