"""Pictures for people: detections on an image, and pictures in a grid."""

from centernet2.visualize.colors import class_colors
from centernet2.visualize.draw import class_name, draw
from centernet2.visualize.fonts import find_font
from centernet2.visualize.picture_grid import picture_grid
from centernet2.visualize.pixels import to_pillow, to_tensor

__all__ = [
    "class_colors",
    "class_name",
    "draw",
    "find_font",
    "picture_grid",
    "to_pillow",
    "to_tensor",
]
