"""Small data sets made for a test."""

import io
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.data import Content, make_content, write_dataset

COUNT = 8  # images of noise


@pytest.fixture
def content() -> Content:
    """Three images: two objects and a crowd, a crowd, nothing."""
    return make_content()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write annotations and images of noise below the temporary folder."""
    return partial(write_dataset, tmp_path)


@pytest.fixture
def annotations(write: Callable[[Any], Path]) -> Path:
    """Eight images of noise, each with a box."""
    images = [
        {"id": i, "file_name": f"{i}.png", "height": 20, "width": 24 + i} for i in range(COUNT)
    ]
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 9, 9]} for i in range(COUNT)]
    return write(
        {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "thing"}]}
    )


@pytest.fixture
def images(annotations: Path) -> Path:
    """The folder of the eight images."""
    return annotations.parent.parent / "images"


@pytest.fixture
def shards(images: Path) -> Path:
    """Write the eight images into three tar files, with text files as in WebDataset."""
    folder = images.parent / "shards"
    folder.mkdir()
    for shard in range(3):
        with tarfile.open(folder / f"part-{shard:03d}.tar", "w") as archive:
            for i in range(shard, COUNT, 3):
                archive.add(images / f"{i}.png", f"./some/{i}.png")
                text = tarfile.TarInfo(f"./some/{i}.json")
                text.size = 2
                archive.addfile(text, io.BytesIO(b"{}"))
    return folder
