"""The images on which the ranges of activations are measured for int8."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from glob import has_magic
from pathlib import Path

import numpy as np
from torch import Tensor

from centernet2.data import read_indexed_image
from centernet2.data.readers import find_dataset, load_split_files
from centernet2.files import is_image_file
from centernet2.images.image_files import ImageError, read_image
from centernet2.images.stored_image import to_tensor
from centernet2.predict.sources import find_images
from centernet2.progress import with_progress

CALIBRATION_IMAGES = 300  # the published results of the field use as many
Read = Callable[[], Tensor]
logger = logging.getLogger(__name__)


def find_calibration_images(source: Path) -> list[Read]:
    """Return functions that read up to 300 images, spread evenly over the data.

    Args:
        source: data set in any layout, of which the first split is taken (train, if there is one);
            or an image file, a folder or a pattern.

    Raises:
        ImageError: none of them can be read.
    """
    images = _images_of(source)
    count = min(len(images), CALIBRATION_IMAGES)
    chosen = [images[i] for i in np.linspace(0, len(images) - 1, count).astype(int)]
    _require_readable(chosen, source)
    return chosen


def _require_readable(images: Sequence[Read], source: Path) -> None:
    """Raise ImageError unless an image can be read."""
    reason = "there are no images"
    for read in images:
        try:
            read()
        except ImageError as error:
            reason = str(error)
        else:
            return
    raise ImageError(f"no image for calibration in {source} can be read ({reason}); give others")


def read_calibration_images(images: Sequence[Read]) -> Iterator[Tensor]:
    """Yield images, uint8 [3, H, W], and show the progress; leave out unreadable ones."""
    for read in with_progress(images, ("calibrating", "calibrated"), total=len(images)):
        try:
            image = read()
        except ImageError as error:
            logger.warning("%s (the image is left out)", error)
        else:
            yield image


def _images_of(source: Path) -> list[Read]:
    images = is_image_file(source) or has_magic(str(source))
    try:
        splits = {} if images else find_dataset(source)
    except FileNotFoundError:
        if not source.is_dir():
            raise
        splits = {}  # a folder without annotations
    if not splits:
        return [partial(_read_tensor, path) for path in find_images([source])]
    split, files = next(iter(splits.items()))
    dataset = load_split_files(files, split, source, masks=False)
    return [partial(read_indexed_image, dataset, i) for i in range(len(dataset))]


def _read_tensor(path: Path) -> Tensor:  # uint8 [3, H, W]
    return to_tensor(read_image(path))
