"""Labels: inside the picture, off their object and off each other."""

import numpy as np
import pytest

from centernet2.visualize.fonts import find_font
from centernet2.visualize.labels import Label, Rectangle, place_labels, style_for

COLOR = (200, 0, 0)


def place(
    boxes: list[Rectangle], size: tuple[int, int], text: str = "class 7: 0.95"
) -> list[Label]:
    style = style_for(*size)
    font = find_font([]).at(style.font)
    return place_labels([text] * len(boxes), boxes, [COLOR] * len(boxes), size, font, style.padding)


def shared_pixels(a: Rectangle, b: Rectangle) -> int:
    width = min(a[2], b[2]) - max(a[0], b[0])
    return max(0, width) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


@pytest.mark.parametrize("box", [
    (200, 200, 300, 300),  # in the middle
    (0, 0, 100, 60),
    (540, 0, 639, 60),
    (0, 420, 100, 479),
    (540, 420, 639, 479),
    (200, 0, 300, 479),  # from top to bottom
    (0, 200, 639, 300),  # from side to side
    (300, 0, 310, 10),
])  # fmt: skip
def test_label_does_not_cover_its_object(box: Rectangle) -> None:
    (label,) = place([box], (640, 480))
    left, top, right, bottom = label.rectangle
    assert 0 <= left < right <= 640 and 0 <= top < bottom <= 480
    assert shared_pixels(label.rectangle, box) == 0
    gap = max(left - box[2], box[0] - right, top - box[3], box[1] - bottom)
    assert gap <= 1, "the label is not at its box"


def test_label_of_an_object_as_large_as_the_image_is_inside() -> None:
    (label,) = place([(0, 0, 639, 479)], (640, 480))
    assert shared_pixels(label.rectangle, (0, 0, 640, 480)) > 0


def test_labels_do_not_cover_neighbors_where_they_can_avoid_it() -> None:
    boxes = [(200, 200, 300, 300), (200, 310, 300, 400), (305, 200, 400, 300)]
    labels = place(boxes, (640, 480))
    for i, label in enumerate(labels):
        assert all(shared_pixels(label.rectangle, box) == 0 for box in boxes)
        assert all(shared_pixels(label.rectangle, other.rectangle) == 0 for other in labels[:i])


def test_most_of_fifty_labels_are_placed_apart() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 0.9, (50, 2)) * [1080, 720]
    sides = rng.uniform(0.03, 0.1, (50, 2)) * [1080, 720]
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(int).tolist()
    labels = place([tuple(box) for box in boxes], (1080, 720))
    assert len(labels) >= 48
    covered = [
        shared_pixels(a.rectangle, b.rectangle) > 0
        for i, a in enumerate(labels)
        for b in labels[:i]
    ]
    assert sum(covered) <= 2


def test_letters_are_not_hidden_by_better_labels() -> None:
    corners = np.random.default_rng(0).integers(0, 260, (40, 2))
    boxes = [tuple(box) for box in np.concatenate([corners, corners + 40], axis=1).tolist()]
    labels = place(boxes, (320, 320), "1: 0.31")
    padding = style_for(320, 320).padding
    assert len(labels) > 20
    for i, label in enumerate(labels):
        left, top, right, bottom = label.rectangle
        letters = (left + padding, top + padding, right - padding, bottom - padding)
        assert not any(shared_pixels(letters, other.rectangle) for other in labels[:i])


def test_labels_leave_most_of_the_picture_free() -> None:
    boxes = [(x, y, x + 3, y + 3) for x in range(0, 300, 6) for y in range(0, 200, 6)]
    labels = place(boxes, (300, 200))
    area = sum(shared_pixels(label.rectangle, (0, 0, 300, 200)) for label in labels)
    assert 0 < area <= 0.25 * 300 * 200


def test_letters_and_lines_grow_with_the_picture() -> None:
    sizes = [style_for(side, side) for side in (64, 300, 1000, 6000)]
    assert sizes == sorted(sizes) and sizes[0].font >= 10
    # a picture of 6,000 pixels, shown on 1,500: lines of 3 and letters of 10 pixels
    assert sizes[-1].font / 4 >= 10 and 2 <= sizes[-1].line / 4 <= 4
