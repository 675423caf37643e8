"""Small data sets made on the spot."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Content = dict[str, list[dict[str, Any]]]


@pytest.fixture
def content() -> Content:
    """Three images of different shape: two objects and a crowd, a crowd only, nothing at all. Ids are out of order."""
    return {
        "categories": [{"id": 7, "name": "zebra"}, {"id": 3, "name": "ant"}],
        "images": [
            {"id": 30, "file_name": "wide.png", "width": 64, "height": 48},
            {"id": 10, "file_name": "tall.png", "width": 40, "height": 60},
            {"id": 20, "file_name": "empty.png", "width": 32, "height": 32},
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 30,
                "category_id": 7,
                "bbox": [4, 6, 20, 10],
                "area": 150.0,
                "iscrowd": 0,
            },
            {
                "id": 2,
                "image_id": 10,
                "category_id": 3,
                "bbox": [0, 0, 30, 30],
                "area": 900.0,
                "iscrowd": 1,
            },
            {
                "id": 3,
                "image_id": 30,
                "category_id": 3,
                "bbox": [30, 20, 8, 8],
                "area": 64.0,
                "iscrowd": 0,
            },
            {
                "id": 4,
                "image_id": 30,
                "category_id": 3,
                "bbox": [0, 0, 64, 48],
                "area": 99.0,
                "iscrowd": 1,
            },
        ],
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    """Write annotations, and an image for each record that has a size, in the layout of --data."""

    def _write(content: Any, split: str = "train") -> Path:
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "annotations").mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        for record in content.get("images", []):
            pixels = rng.integers(0, 256, (record["height"], record["width"], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / record["file_name"])
        path = tmp_path / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(content))
        return path

    return _write
