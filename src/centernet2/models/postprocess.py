"""What prediction and evaluation do around a model: its mode, original sizes, pasted masks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from torch import Tensor, nn

from centernet2.kernels import paste_box_masks
from centernet2.ops.boxes import nonempty, scale_boxes
from centernet2.structures import Detections, ImageDetector, select

Threshold: TypeAlias = float | Sequence[float]  # one for all classes, or one for each by label


@contextmanager
def evaluating(model: ImageDetector | nn.Module) -> Iterator[None]:
    """Set evaluation mode, and afterwards the mode that each module had.

    Frozen parts of a model in training may be in evaluation mode.
    """
    training = [module for module in model.modules() if module.training]
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def to_original(
    detections: Detections,
    input_size: tuple[int, int],
    size: tuple[int, int],
    *,
    score_threshold: Threshold = 0.0,
) -> tuple[Detections, Tensor]:
    """Bring detections from the model's input to the original image.

    Boxes that clipping leaves empty and detections below the threshold are dropped. Masks stay in
    the grid of their box.

    Args:
        detections: boxes in pixels of the model's input.
        input_size, size: (height, width) of the model's input and of the original image.
        score_threshold: for all classes, or for each.

    Returns:
        The detections that are kept, and which of the given ones they are: [D] bool.
    """
    boxes, scores = scale_boxes(detections["boxes"], input_size, size), detections["scores"]
    if isinstance(score_threshold, float | int):
        strong = scores >= score_threshold
    else:
        strong = scores >= scores.new_tensor(score_threshold)[detections["labels"]]
    kept = nonempty(boxes) & strong
    return select({**detections, "boxes": boxes}, kept), kept


def paste(detections: Detections, size: tuple[int, int]) -> Detections:
    """Replace masks in the grid of their box by masks [D, H, W] of an image of `size`."""
    if "box_masks" not in detections:
        return detections
    masks = paste_box_masks(detections["box_masks"], detections["boxes"], size)
    return {
        "boxes": detections["boxes"],
        "scores": detections["scores"],
        "labels": detections["labels"],
        "masks": masks,
    }
