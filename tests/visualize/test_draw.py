"""Drawings of detections."""

from typing import Any

import numpy as np
import pytest
import torch

from centernet2.visualize import draw
from centernet2.visualize.colors import class_colors
from centernet2.visualize.draw import MIN_SIDE
from centernet2.visualize.labels import style_for
from tests.helpers.drawing import canvas, count_pixels, detections

NAMES = [f"class {i}" for i in range(100)]
COLORS = [class_colors(NAMES)[name] for name in NAMES]


def random_detections(count: int, height: int, width: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1, (count, 2, 2)) * [width, height]
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return detections(
        boxes.tolist(), rng.random(count).tolist(), rng.integers(0, 100, count).tolist()
    )


def test_box_and_filled_label() -> None:
    image = canvas()
    picture = draw(image, detections([[50, 100, 150, 200]], [0.9], [3]), NAMES)
    assert picture.dtype == np.uint8 and picture.shape == image.shape
    assert (image == 128).all(), "the argument was changed"
    for y, x in ((100, 100), (199, 100), (150, 50), (150, 149)):
        assert tuple(picture[y, x].tolist()) == COLORS[3], (y, x)
    assert (picture[110:190, 60:140] == 128).all()
    assert (picture[202:] == 128).all() and (picture[:, 152:] == 128).all()
    height = style_for(320, 240).font
    assert count_pixels(picture[100 - height : 99], COLORS[3]) > 2 * height


def test_tracked_objects_have_their_number() -> None:
    found = detections([[50, 100, 150, 200], [200, 100, 300, 200]], [0.9, 0.8], [3, 3])
    plain = draw(canvas(), found, NAMES)
    untracked = draw(canvas(), {**found, "ids": np.array([-1, -1])}, NAMES)
    numbered = draw(canvas(), {**found, "ids": np.array([-1, 7])}, NAMES)
    assert np.array_equal(untracked, plain)
    assert np.array_equal(numbered[:, :180], plain[:, :180])
    assert not np.array_equal(numbered[:, 200:], plain[:, 200:])


def test_class_name_of_two_lines_is_drawn_in_one() -> None:
    found = detections([[50, 100, 150, 200]], [0.9], [0])
    pairs = ((f"{number}\nlines", f"{number} lines") for number in range(1000))
    two, one = next(pair for pair in pairs if class_colors(pair[:1])[pair[0]]
                    == class_colors(pair[1:])[pair[1]])  # fmt: skip
    assert np.array_equal(draw(canvas(), found, [two]), draw(canvas(), found, [one]))


def test_image_without_detections_is_unchanged() -> None:
    image = canvas()
    assert np.array_equal(draw(image, detections([], [], []), NAMES), image)


def test_best_detection_is_on_top() -> None:
    boxes = [[50.0, 100.0, 150.0, 200.0]] * 2
    for scores in ([0.3, 0.8], [0.8, 0.3]):
        picture = draw(canvas(), detections(boxes, scores, [1, 2]), NAMES)
        best = [1, 2][int(np.argmax(scores))]
        assert tuple(picture[199, 100].tolist()) == COLORS[best]


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (4, 2000), (2000, 4), (30, 40), (1500, 2500)]
)
def test_any_image_size_with_many_boxes(height: int, width: int) -> None:
    found = random_detections(120, height, width)
    found["boxes"][0] = [-50.0, -50.0, width + 50.0, height + 50.0]
    found["boxes"][1] = [0.2, 0.2, 0.3, 0.3]
    picture = draw(canvas(height, width), found, None)
    factor = picture.shape[0] // height
    assert picture.shape == (factor * height, factor * width, 3)
    assert factor == 1 or max(height, width) < MIN_SIDE <= max(picture.shape)


def test_small_image_is_enlarged_with_its_boxes_and_masks() -> None:
    found = detections([[10, 20, 30, 40]], [0.9], [3])
    found["masks"] = np.zeros((1, 64, 64), bool)
    found["masks"][0, 20:40, 10:20] = True
    picture = draw(canvas(64, 64), found, NAMES)
    assert picture.shape == (320, 320, 3)
    colored = np.argwhere((picture == COLORS[3]).all(axis=2))
    assert colored[:, 1].min() == 50 and colored[:, 0].max() == 199
    assert (picture[105:195, 105:145] == 128).all(), "outside of the mask"
    assert (picture[105:195, 60:90] != 128).all()


def test_names_have_the_same_color_in_any_list() -> None:
    found = detections([[50, 100, 150, 200]], [0.9], [0])
    picture = draw(canvas(), found, ["person"])
    found["labels"] += 1
    assert np.array_equal(picture, draw(canvas(), found, ["car", "person"]))


def test_masks_are_translucent_with_outline() -> None:
    found = detections([[50, 50, 250, 200]], [0.9], [3])
    found["masks"] = np.zeros((1, 240, 320), bool)
    found["masks"][0, 80:180, 80:220] = True
    picture = draw(canvas(), found, NAMES)
    inside = picture[130, 150].tolist()
    assert inside == [round(128 + 0.45 * (c - 128)) for c in COLORS[3]]
    assert tuple(picture[80, 150].tolist()) == COLORS[3]
    assert picture[70, 150].tolist() == [128] * 3


def test_mask_at_border_and_empty_mask() -> None:
    found = detections([[0, 0, 90, 90], [5, 5, 9, 9]], [0.9, 0.8], [3, 4])
    found["masks"] = np.zeros((2, 240, 320), bool)
    found["masks"][0, :90, :90] = True
    picture = draw(canvas(), found, NAMES)
    assert picture[40, 20].tolist() == [round(128 + 0.45 * (c - 128)) for c in COLORS[3]]
    assert (picture[120:, 120:] == 128).all()


def test_tensors_are_drawn_as_arrays() -> None:
    found = detections([[50, 100, 150, 200]], [0.9], [3])
    found["masks"] = np.ones((1, 240, 320), bool)
    tensors = {name: torch.from_numpy(column) for name, column in found.items()}
    assert np.array_equal(draw(canvas(), tensors, NAMES), draw(canvas(), found, NAMES))
