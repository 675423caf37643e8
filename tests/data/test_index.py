import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from centernet2 import files
from centernet2.data import index
from centernet2.data.dataset import DetectionDataset
from centernet2.data.index import load_index, save_index
from centernet2.data.readers.coco import load_coco
from centernet2.data.readers.splits import load_split

POLYGON = [[4, 6, 20, 6, 20, 16]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that keeps small files too."""
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(index, "MIN_SIZE", 0)
    return tmp_path / "cache" / "index"


@pytest.fixture
def path(write: Callable[[Any], Path], content: dict[str, Any]) -> Path:
    content["annotations"][0]["segmentation"] = POLYGON
    return write(content)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The JSON files that were read."""
    seen: list[Path] = []
    read = index.json.loads

    def counted(text: Any) -> Any:
        result = read(text)
        if "images" in result:
            seen.append(Path())
        return result

    monkeypatch.setattr(index.json, "loads", counted)
    return seen


def load(path: Path, **options: Any) -> DetectionDataset:
    return load_coco(path, path.parent.parent / "images", name="small", **options)


def assert_equal(first: DetectionDataset, second: DetectionDataset) -> None:
    for (name, a), (other, b) in zip(index._arrays(first), index._arrays(second), strict=True):
        assert name == other
        assert a.dtype == b.dtype and np.array_equal(a, b)
    for name in ("name", "class_names", "category_ids", "folder", "annotations"):
        assert getattr(first, name) == getattr(second, name)


@pytest.mark.parametrize("masks", [False, True])
def test_cached_index_is_equal(path: Path, reads: list[Path], masks: bool) -> None:
    first, second = load(path, masks=masks), load(path, masks=masks)
    assert len(reads) == 1
    assert_equal(first, second)
    assert (second.masks is not None) is masks
    for i in range(len(first)):
        assert first.target(i).keys() == second.target(i).keys()


def test_mapped_arrays_do_not_change_the_file(path: Path) -> None:
    load(path)
    dataset = load(path)
    base: Any = dataset.xywh
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    dataset.xywh[:] = 0  # a page of this process
    assert load(path).xywh.any()


def test_changed_file_is_read_again(path: Path, reads: list[Path]) -> None:
    load(path)
    os.utime(path, ns=(1, 1))
    load(path)
    assert len(reads) == 2
    state = path.stat()
    content = json.loads(path.read_text())
    content["categories"][0]["name"] = "giraffe"
    reads.clear()
    path.write_text(json.dumps(content))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert "giraffe" in load(path).class_names
    # the new index replaces the old one
    assert len(list((path.parent.parent / "cache" / "index").glob("*.index"))) == 1


def test_cache_distinguishes_masks_and_boxes(path: Path) -> None:
    assert load(path).masks is None
    assert load(path, masks=True).masks is not None
    assert load(path).masks is None


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-1], lambda c: b"", lambda c: b"x" * len(c), lambda c: c[:40]]
)
def test_damaged_index_is_made_again(
    path: Path, cache: Path, reads: list[Path], damage: Callable[[bytes], bytes]
) -> None:
    first = load(path)
    (file,) = cache.glob("*.index")
    content = file.read_bytes()
    file.unlink()  # `first` is mapped to it
    file.write_bytes(damage(content))
    assert_equal(load(path), first)
    assert len(reads) == 2
    load(path)
    assert len(reads) == 2


def test_crash_leaves_no_file(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(index.os, "fsync", crash)
        first = load(path)
    assert [file.suffix for file in cache.iterdir() if file.suffix != ".lock"] == []
    assert_equal(load(path), first)


def test_unusable_cache_is_ignored(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path / "file"))
    assert len(load(path)) == 3
    assert "cannot be used" in caplog.text


def test_file_changed_while_read_is_not_cached(path: Path, cache: Path) -> None:
    dataset = load_coco(path, path.parent, name="small")
    for file in cache.glob("*.index"):
        file.unlink()

    def read() -> DetectionDataset:
        os.utime(path, ns=(5, 5))
        return dataset

    assert index.cached([path], [], read) is dataset
    assert not list(cache.glob("*.index"))


def test_no_small_file_is_cached(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MIN_SIZE", 2**24)
    load(path)
    assert not cache.exists()


def test_moved_images_are_found_again(path: Path, reads: list[Path]) -> None:
    top = path.parent.parent
    first = load_split(path, "val", masks=False)
    assert_equal(load_split(path, "val", masks=False), first)
    assert len(reads) == 1
    (top / "images").rename(top / "data")
    moved = load_split(path, "val", masks=False)
    assert moved.image_path(0).parent == top / "data"
    assert len(reads) == 2


def test_index_without_boxes(path: Path, tmp_path: Path) -> None:
    empty = load(path).subset(np.array([1]))
    save_index(tmp_path / "empty.index", empty, [(1, "a")])
    found = load_index(tmp_path / "empty.index", [(1, "a")])
    assert found is not None
    assert_equal(found, empty)
    assert load_index(tmp_path / "empty.index", [(1, "b")]) is None


def test_sizes_are_those_of_the_folder(path: Path, content: dict[str, Any], tmp_path: Path) -> None:
    content["images"] = [{"id": 30, "file_name": "wide.png"}]
    content["annotations"] = content["annotations"][:1]
    path.write_text(json.dumps(content))
    assert load(path).size(0) == (48, 64)
    (tmp_path / "doubled").mkdir()
    Image.new("RGB", (128, 96)).save(tmp_path / "doubled" / "wide.png")
    assert load_coco(path, tmp_path / "doubled", name="small").size(0) == (96, 128)
