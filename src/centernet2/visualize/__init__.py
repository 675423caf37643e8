"""Pictures for people: detections on an image, and pictures in a grid."""

from centernet2.visualize.colors import text_color
from centernet2.visualize.draw import class_name, draw, label_colors
from centernet2.visualize.picture_grid import picture_grid

__all__ = [
    "class_name",
    "draw",
    "label_colors",
    "picture_grid",
    "text_color",
]
