"""Sheets of suspected label errors: pictures with the label and the suggestion."""

from collections.abc import Mapping, Sequence
from math import ceil, floor
from pathlib import Path

import numpy as np

from centernet2.data import DetectionDataset, read_indexed_image
from centernet2.data.check import LabelError
from centernet2.images.stored_image import to_pixels
from centernet2.report.gallery import square_around
from centernet2.report.sheets import write_sheets
from centernet2.structures import Pixels
from centernet2.visualize import draw

NAMES = ("label", "detector")  # of the two boxes


def write_label_sheets(
    errors: Sequence[LabelError], datasets: Mapping[str, DetectionDataset], folder: Path
) -> list[Path]:
    """Write labels_1.jpg, labels_2.jpg ... with a numbered picture of each error."""
    pictures = ((_picture(each, datasets[each.split]), str(each)) for each in errors)
    return write_sheets(pictures, folder, "labels")


def _picture(error: LabelError, dataset: DetectionDataset) -> Pixels:
    """Draw the surroundings of an error, with the boxes of label and detector."""
    image = to_pixels(read_indexed_image(dataset, error.image))
    own = None if error.row is None else dataset.boxes(slice(error.row, error.row + 1))[0]
    drawn = [(box, label) for label, box in enumerate((own, error.box)) if box is not None]
    boxes = np.array([box for box, _ in drawn], dtype=np.float64)  # [1 or 2, 4]
    around = [*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()]
    x, y, side = square_around(around, *image.shape[:2])
    left, top = max(floor(x), 0), max(floor(y), 0)
    objects = {"boxes": boxes - [left, top, left, top], "labels": [label for _, label in drawn]}
    return draw(image[top : ceil(y + side), left : ceil(x + side)], objects, NAMES)
