"""Grids of pictures of data sets, on disk."""

from pathlib import Path

import pytest
from PIL import Image

from centernet2.jobs.show import show
from centernet2.pictures import FILE_FORMATS, is_own_picture
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
