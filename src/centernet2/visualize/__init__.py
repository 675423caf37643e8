"""Pictures for people: detections on an image, and pictures in a grid."""

from centernet2.visualize.colors import text_color as text_color
from centernet2.visualize.draw import class_name as class_name
from centernet2.visualize.draw import draw as draw
from centernet2.visualize.draw import label_colors as label_colors
from centernet2.visualize.picture_grid import picture_grid as picture_grid
