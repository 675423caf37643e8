"""Detections at the size of the original image, with pasted masks."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor

from centernet2.kernels import paste_box_masks
from centernet2.models.preprocess import size_of
from centernet2.ops.boxes import nonempty, scale_boxes
from centernet2.structures import Detections, select


def to_original(
    detections: Detections, input_size: tuple[int, int], size: tuple[int, int]
) -> tuple[Detections, Tensor]:
    """Scale detections from the model's input to the original image.

    Boxes that are empty after clipping are dropped. Masks stay in the grid of their box.

    Args:
        detections: boxes in pixels of the model's input.
        input_size, size: (height, width) of the model's input and of the original image.

    Returns:
        The remaining detections, and a mask [D] bool of the given ones that remain.
    """
    boxes = scale_boxes(detections["boxes"], input_size, size)
    kept = nonempty(boxes)
    rows = kept.nonzero().squeeze(1)  # waits for the device once, not for each column
    return select({**detections, "boxes": boxes}, rows), kept


def paste_all(detections: Sequence[Detections], images: Sequence[Tensor]) -> list[Detections]:
    """Paste the masks of each image's detections into the image, [3, h, w]."""
    return [paste(own, size_of(image)) for own, image in zip(detections, images, strict=True)]


def paste(detections: Detections, size: tuple[int, int]) -> Detections:
    """Paste masks from the grid of their box into an image of `size`: [D, H, W]."""
    if "box_masks" not in detections:
        return detections
    masks = paste_box_masks(detections["box_masks"], detections["boxes"], size)
    others = {name: value for name, value in detections.items() if name != "box_masks"}
    return cast(Detections, {**others, "masks": masks})
