import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from centernet2.data.readers.catalog import DATASETS, find_dataset, load_dataset
from tests.helpers.data import load_split

Write = Callable[..., Path]


def place(root: Path, name: str, content: Any) -> None:
    """Put annotations and an image folder where the catalog expects them."""
    spec = DATASETS[name]
    (root / spec.images).mkdir(parents=True, exist_ok=True)
    (root / spec.annotations).parent.mkdir(parents=True, exist_ok=True)
    (root / spec.annotations).write_text(json.dumps(content))


@pytest.mark.parametrize("split", ["train", "val"])
def test_user_folder_is_loaded(content: Any, write: Write, tmp_path: Path, split: Any) -> None:
    write(content, "train")
    write(content, "val")
    dataset = load_dataset(data=tmp_path, data_path=None, names=["coco_2017_train"], split=split)
    assert (dataset.name, len(dataset)) == (f"{tmp_path.name}_{split}", 3)
    assert dataset.image_path(0).is_file()


@pytest.mark.parametrize("name", ["lvis_v1", "lvis_v1_train", "lvis_v1_val"])
def test_name_in_place_of_a_folder(
    content: Any, tmp_path: Path, monkeypatch: Any, name: str
) -> None:
    place(tmp_path, "lvis_v1_val", content)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    assert load_split(Path(name), "val").name == "lvis_v1_val"


def test_name_with_its_data_path(content: Any, tmp_path: Path) -> None:
    place(tmp_path, "lvis_v1_val", content)
    name = Path("lvis_v1_val")
    dataset = load_dataset(data=name, data_path=tmp_path, names=[], split="val")
    assert dataset.annotations == find_dataset(name, tmp_path)["val"].annotations


@pytest.mark.parametrize("folder", ["coco2017", "coco", "."])
def test_coco_folder_below_or_at_data_path(content: Any, tmp_path: Path, folder: str) -> None:
    place(tmp_path, "coco_2017_train", content)
    (tmp_path / "coco").rename(tmp_path / "renamed")
    base = tmp_path / "base"
    base.mkdir()
    target = base / folder
    if folder == ".":
        base.rmdir()
    (tmp_path / "renamed").rename(target)
    dataset = load_dataset(data=None, data_path=base, names=["coco_2017_train"], split="train")
    assert dataset.image_path(0) == base / folder / "train2017" / "tall.png"


def test_variable_is_used_without_a_path(
    content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(tmp_path, "objects365_val", content)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    assert len(load_dataset(data=None, data_path=None, names=["objects365_val"], split="val")) == 3


def test_path_that_looks_like_a_home_folder_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="not found at ~nobody-here/"):
        load_dataset(data=None, data_path="~nobody-here", names=["lvis_v1_val"], split="val")


def test_several_names_are_joined(content: Any, tmp_path: Path) -> None:
    names = ["coco_2017_train", "coco_un_yolov4_55_0.5"]
    for name in names:
        place(tmp_path, name, content)
    dataset = load_dataset(data=None, data_path=tmp_path, names=names, split="train")
    assert len(dataset) == 6
    assert dataset.image_path(0) == tmp_path / "coco" / "train2017" / "tall.png"
    assert dataset.image_path(3) == tmp_path / "coco" / "unlabeled2017" / "tall.png"


def test_lvis_uses_the_images_of_coco(content: Any, tmp_path: Path) -> None:
    place(tmp_path, "lvis_v1_val", content)
    (tmp_path / "coco").rename(tmp_path / "coco2017")
    dataset = load_dataset(data=None, data_path=tmp_path, names=["lvis_v1_val"], split="val")
    assert dataset.image_path(0) == tmp_path / "coco2017" / "tall.png"


def test_missing_data_set_lists_searched_paths(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset(data=None, data_path=tmp_path, names=["coco_2017_val"], split="val")
    for place_looked_at in (tmp_path / "coco2017", tmp_path / "coco", tmp_path / "annotations"):
        assert str(place_looked_at) in str(caught.value)
    assert "--data-path" in str(caught.value)


def test_missing_image_folder_is_named(content: Any, tmp_path: Path) -> None:
    place(tmp_path, "lvis_v1_val", content)
    (tmp_path / "coco").rmdir()
    with pytest.raises(FileNotFoundError, match="images of lvis_v1_val"):
        load_dataset(data=None, data_path=tmp_path, names=["lvis_v1_val"], split="val")


def test_unknown_name_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"coco_2017_trian.*did you mean coco_2017_train"):
        load_dataset(data=None, data_path=tmp_path, names=["coco_2017_trian"], split="train")


def test_contradicting_options_are_refused(tmp_path: Path) -> None:
    for find in (find_dataset, partial(load_dataset, names=["coco_2017_val"], split="val")):
        with pytest.raises(ValueError, match=r"--data .* is a path, and --data-path .* one of"):
            find(data=tmp_path, data_path=tmp_path)
    with pytest.raises(ValueError, match="no data set is named for val"):
        load_dataset(data=None, data_path=tmp_path, names=[], split="val")


def test_catalog_has_the_names_of_the_reference(shared: Path) -> None:
    for path in (shared / "golden" / "configs").glob("*.yaml"):
        datasets = yaml.safe_load(path.read_text())["DATASETS"]
        assert {*datasets["TRAIN"], *datasets["TEST"]} <= set(DATASETS), path.name


def test_files_by_name_and_folder(shared: Path) -> None:
    root = shared / "data" / "coco_tiny"
    by_name = find_dataset(Path("coco_2017"), root)
    assert by_name.keys() == {"train", "val"} == find_dataset(root / "coco2017").keys()
    assert find_dataset(Path("coco_2017_val"), root) == {"val": by_name["val"]}
    assert by_name["val"].images == (root / "coco2017" / "val2017",)


def test_unknown_folder_or_name_gets_a_hint() -> None:
    with pytest.raises(FileNotFoundError, match=r"coco_2071 does not exist.*you mean coco_2017"):
        find_dataset(Path("coco_2071"))


@pytest.mark.parametrize("name", ["coco_2017_test", "lvis_v1_test_dev"])
def test_one_set_is_not_both_splits(
    content: Any, tmp_path: Path, monkeypatch: Any, name: str
) -> None:
    place(tmp_path, name, content)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    load = partial(load_dataset, data=Path(name), data_path=None, names=[])
    with pytest.raises(ValueError, match=f"{name} is one set of images, which would serve as"):
        load(split="train")
    assert len(load(split="val")) == 3  # evaluation of all images
    train, val = (load(split=split, val_fraction=0.3) for split in ("train", "val"))
    assert {*train.image_ids.tolist(), *val.image_ids.tolist()} == {10, 20, 30}
    assert (len(train), len(val)) == (2, 1)
