"""Colors of classes: by name, distinct, with legible text."""

import numpy as np

from centernet2.visualize.colors import SLOTS, class_colors, numbered_color, text_color

NAMES = [f"class {i}" for i in range(100)]


def luminance(color: tuple[int, int, int]) -> float:
    parts = [
        c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color
    ]
    return float(np.dot([0.2126, 0.7152, 0.0722], parts))


def test_colors_differ_with_legible_text() -> None:
    colors = [numbered_color(label) for label in range(100)]
    assert len(set(colors)) == 100
    nearest = min(
        np.abs(np.subtract(a, b)).sum() for i, a in enumerate(colors[:8]) for b in colors[:i]
    )
    assert nearest > 60
    for color in colors:
        low, high = sorted([luminance(color), luminance(text_color(color))])
        assert (high + 0.05) / (low + 0.05) >= 4.5, color


def test_color_depends_on_the_name_alone() -> None:
    colors = class_colors(["person", "car", "dog"])
    assert class_colors(["dog", "person", "car"]) == colors
    for name, color in colors.items():
        assert class_colors([name]) == {name: color}, "these three names do not collide"


def test_classes_of_one_list_have_distinct_colors() -> None:
    assert len(set(class_colors(NAMES).values())) == 100
    few = list(class_colors(NAMES[:SLOTS]).values())
    nearest = min(np.abs(np.subtract(a, b)).sum() for i, a in enumerate(few) for b in few[:i])
    assert len(few) == SLOTS and nearest > 40
