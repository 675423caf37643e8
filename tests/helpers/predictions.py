"""A prediction of three objects on a gray image."""

from pathlib import Path
from typing import Any

import numpy as np

from centernet2.predict.prediction import Prediction

NAMES = ("cat", "dog")


def make_prediction(**changes: Any) -> Prediction:
    """Return a cat and two dogs on an image of 60 x 80 pixels."""
    values: dict[str, Any] = {
        "boxes": np.array([[1, 2, 30, 40], [10, 20, 70, 50], [0, 0, 80, 60]], np.float32),
        "scores": np.array([0.75, 0.5, 0.25], np.float32), "labels": np.array([1, 0, 1]),
        "size": (60, 80), "class_names": NAMES, "path": Path("photos/scene.jpg"),
        "pixels": np.full((60, 80, 3), 128, np.uint8),
    }  # fmt: skip
    return Prediction(**(values | changes))


def left_half(count: int = 3) -> np.ndarray:
    """Return masks [count, 60, 80] of the left half of the image."""
    masks = np.zeros((count, 60, 80), dtype=bool)
    masks[:, :, :40] = True
    return masks
