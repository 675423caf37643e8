"""Drawings of detections, and grids of pictures."""

import numpy as np
import pytest
import torch
from torch import Tensor

from centernet2.structures import Detections
from centernet2.visualize import (
    _place_labels,
    class_color,
    draw,
    picture_grid,
    style_for,
    text_color,
)
from tests.helpers.drawing import canvas, detections

NAMES = [f"class {i}" for i in range(100)]


def random_detections(count: int, height: int, width: int) -> Detections:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1, (count, 2, 2)) * [width, height]
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return detections(
        boxes.tolist(), rng.random(count).tolist(), rng.integers(0, 100, count).tolist()
    )


def count_pixels(image: Tensor, color: tuple[int, int, int]) -> int:
    return int((image == torch.tensor(color)[:, None, None]).all(dim=0).sum())


def test_box_and_filled_label() -> None:
    image = canvas()
    picture = draw(image, detections([[50, 100, 150, 200]], [0.9], [3]), NAMES)
    assert picture.dtype == torch.uint8 and picture.shape == image.shape
    assert image.unique().tolist() == [128], "the argument was changed"
    for y, x in ((100, 100), (199, 100), (150, 50), (150, 149)):
        assert tuple(picture[:, y, x].tolist()) == class_color(3), (y, x)
    assert (picture[:, 110:190, 60:140] == 128).all()
    assert (picture[:, 200:, :][:, 2:] == 128).all() and (picture[:, :, 152:] == 128).all()
    height = style_for(320, 240).font
    assert count_pixels(picture[:, 100 - height : 99], class_color(3)) > 2 * height


def test_image_without_detections_is_unchanged() -> None:
    image = canvas()
    assert torch.equal(draw(image, detections([], [], []), NAMES), image)
    weak = detections([[50, 100, 150, 200]], [0.4], [3])
    assert torch.equal(draw(image, weak, NAMES, score_threshold=0.5), image)


def test_best_detection_is_on_top() -> None:
    boxes = [[50.0, 100.0, 150.0, 200.0]] * 2
    for scores in ([0.3, 0.8], [0.8, 0.3]):
        picture = draw(canvas(), detections(boxes, scores, [1, 2]), NAMES)
        best = [1, 2][int(np.argmax(scores))]
        assert tuple(picture[:, 199, 100].tolist()) == class_color(best)


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (4, 2000), (2000, 4), (30, 40), (1500, 2500)]
)
def test_any_image_size_with_many_boxes(height: int, width: int) -> None:
    found = random_detections(120, height, width)
    found["boxes"][0] = torch.tensor([-50.0, -50.0, width + 50.0, height + 50.0])
    found["boxes"][1] = torch.tensor([0.2, 0.2, 0.3, 0.3])
    assert draw(canvas(height, width), found, None).shape == (3, height, width)


def test_labels_are_inside_and_legible() -> None:
    size = (640, 480)
    found = random_detections(60, 480, 640)
    boxes = [tuple(map(int, box)) for box in found["boxes"].tolist()]
    labels = _place_labels(
        [f"class {i}" for i in range(60)], boxes, [class_color(0)] * 60, size, style_for(*size)
    )
    assert len(labels) > 20
    covered = np.zeros((480, 640))
    for label in labels:
        left, top, right, bottom = label.rectangle
        assert 0 <= left < right <= 640 and 0 <= top < bottom <= 480
        taken = covered[top:bottom, left:right]
        assert taken.mean() <= 0.25
        taken[:] = 1


def test_class_colors_differ_with_legible_text() -> None:
    colors = [class_color(label) for label in range(100)]
    assert len(set(colors)) == 100
    nearest = min(
        np.abs(np.subtract(a, b)).sum() for i, a in enumerate(colors[:8]) for b in colors[:i]
    )
    assert nearest > 60

    def luminance(color: tuple[int, int, int]) -> float:
        parts = [
            c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4
            for c in color
        ]
        return float(np.dot([0.2126, 0.7152, 0.0722], parts))

    for color in colors:
        low, high = sorted([luminance(color), luminance(text_color(color))])
        assert (high + 0.05) / (low + 0.05) >= 4.5, color


def test_masks_are_translucent_with_outline() -> None:
    found = detections([[50, 50, 250, 200]], [0.9], [3])
    found["masks"] = torch.zeros(1, 240, 320, dtype=torch.bool)
    found["masks"][0, 80:180, 80:220] = True
    picture = draw(canvas(), found, NAMES)
    inside = picture[:, 130, 150].tolist()
    assert inside == [round(128 + 0.45 * (c - 128)) for c in class_color(3)]
    assert tuple(picture[:, 80, 150].tolist()) == class_color(3)
    assert picture[:, 70, 150].tolist() == [128] * 3


def test_mask_at_border_and_empty_mask() -> None:
    found = detections([[0, 0, 90, 90], [5, 5, 9, 9]], [0.9, 0.8], [3, 4])
    found["masks"] = torch.zeros(2, 240, 320, dtype=torch.bool)
    found["masks"][0, :90, :90] = True
    picture = draw(canvas(), found, NAMES)
    assert picture[:, 40, 20].tolist() == [round(128 + 0.45 * (c - 128)) for c in class_color(3)]
    assert (picture[:, 120:, 120:] == 128).all()


def test_picture_grid() -> None:
    images = [
        torch.full((3, h, w), 40, dtype=torch.uint8) for h, w in ((50, 100), (100, 50), (4, 4))
    ]
    grid = picture_grid(
        images,
        ["a", "a caption that is far too long for its picture " * 3, "c"],
        columns=2,
        cell=100,
    )
    assert grid.dtype == torch.uint8 and 200 < grid.shape[2] < 240
    assert count_pixels(grid, (40, 40, 40)) >= 50 * 100 + 100 * 50 + 100 * 100
    assert (grid[:, :, -6:] == 255).all(), "a caption leaves its column"
    with pytest.raises(ValueError, match="one caption each: 3 and 1"):
        picture_grid(images, ["a"])
