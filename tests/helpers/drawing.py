"""A gray image, and detections to draw on it."""

from typing import Any

import numpy as np

from centernet2.structures import Pixels


def canvas(height: int = 240, width: int = 320) -> Pixels:
    return np.full((height, width, 3), 128, np.uint8)


def detections(boxes: list[list[float]], scores: list[float], labels: list[int]) -> dict[str, Any]:
    return {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "scores": np.array(scores, np.float32),
        "labels": np.array(labels, np.int64),
    }


def count_pixels(image: Pixels, color: tuple[int, int, int]) -> int:
    return int((image == color).all(axis=2).sum())
