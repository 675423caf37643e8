"""Pictures of a training run: first batches, and detections at evaluations."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from centernet2.data import DetectionDataset, read_indexed_image
from centernet2.images.image_files import ImageError
from centernet2.images.stored_image import to_pixels
from centernet2.pictures import save_picture
from centernet2.structures import Batch, Detections, Pixels, Target, certain_objects
from centernet2.visualize import draw, picture_grid

logger = logging.getLogger(__name__)

FIRST_BATCHES = 2
SHOWN_SCORE = 0.3  # detections with a lower score are not drawn
JPEG_QUALITY = 85


def drawn_batches(
    batches: Iterator[Batch], folder: Path, *, class_names: Sequence[str], start: int, count: int
) -> Iterator[Batch]:
    """Pass batches on, and draw `count` images of each of the first ones.

    `start` is the number of steps done before: it names the files.
    """
    for number, batch in enumerate(batches, start=1):
        if number <= FIRST_BATCHES:
            pictures = [
                draw(to_pixels(image), _certain(target), class_names)
                for image, target in zip(batch.images[:count], batch.targets, strict=False)
            ]
            captions = [f"image {image_id}" for image_id in batch.image_ids[:count]]
            _write(folder / f"batch_{start + number:07d}.jpg", pictures, captions)
        yield batch


def draw_predictions(
    detect: Callable[[Tensor], Detections],
    dataset: DetectionDataset,
    folder: Path,
    *,
    class_names: Sequence[str],
    iteration: int,
    count: int,
) -> None:
    """Draw ground truth and detections of `count` images, the same at each evaluation.

    The class names are of the detections; the data set may number its classes otherwise.
    """
    pictures, captions = [], []
    for index in np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int).tolist():
        try:
            image = read_indexed_image(dataset, index)
        except ImageError:  # the evaluation has reported it
            continue
        target, pixels = dataset.target(index), to_pixels(image)
        truth = {"boxes": target["boxes"], "labels": target["labels"]}
        pictures += [
            draw(pixels, truth, dataset.class_names),
            draw(pixels, detect(image), class_names),
        ]
        captions += [
            f"image {dataset.image_id(index)}: ground truth",
            f"detections after {iteration} iterations",
        ]
    _write(folder / f"predictions_{iteration:07d}.jpg", pictures, captions)


def _certain(target: Target) -> dict[str, Tensor]:
    """Return what is drawn of the certain objects."""
    rows = certain_objects(target)
    drawn = {"boxes": target["boxes"][rows], "labels": target["labels"][rows]}
    return drawn | ({"masks": target["masks"][rows]} if "masks" in target else {})


def _write(path: Path, pictures: Sequence[Pixels], captions: Sequence[str]) -> None:
    if not pictures:
        return
    picture = Image.fromarray(picture_grid(pictures, captions))
    try:
        save_picture(picture, path, quality=JPEG_QUALITY)
    except OSError as error:  # a run does not end for want of a picture
        logger.warning("%s cannot be written (%s): this picture is left out", path, error)
