"""Pictures of a training: what the model is shown at first, and what it finds at each evaluation."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from centernet2.data.dataset import DetectionDataset
from centernet2.data.image import ImageError
from centernet2.data.loader import Batch, read_indexed_image
from centernet2.models.detector import Detector
from centernet2.predictor import Predictor
from centernet2.visualize import draw, mosaic

FIRST_BATCHES = 2
SHOWN_SCORE = 0.3  # detections below it are not drawn
QUALITY = 85


def drawn_batches(
    batches: Iterator[Batch], folder: Path, *, class_names: Sequence[str], start: int, count: int
) -> Iterator[Batch]:
    """The same batches; of the first ones, `count` images each are drawn as the model is shown them.

    `start` is the number of steps done before: it names the files.
    """
    for number, batch in enumerate(batches, start=1):
        if number <= FIRST_BATCHES:
            pictures = [
                draw(*pair, class_names)
                for pair in zip(batch.images[:count], batch.targets, strict=False)
            ]
            captions = [f"image {image_id}" for image_id in batch.image_ids[:count]]
            _write(folder / f"batch_{start + number:07d}.jpg", pictures, captions)
        yield batch


def draw_predictions(
    model: Detector, dataset: DetectionDataset, folder: Path, *, iteration: int, count: int
) -> None:
    """Draws the ground truth of `count` images, the same at each evaluation, and what the model finds in them."""
    predictor = Predictor(model, class_names=dataset.class_names)
    pictures, captions = [], []
    for index in np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int).tolist():
        try:
            image = read_indexed_image(dataset, index)
        except ImageError:  # said already by the evaluation
            continue
        found = predictor(image, score_threshold=SHOWN_SCORE)
        truth = dataset.target(index)
        pictures += [
            draw(image, {"boxes": truth["boxes"], "labels": truth["labels"]}, dataset.class_names),
            draw(image, found, dataset.class_names),
        ]
        captions += [
            f"image {dataset.image_ids[index]}: ground truth",
            f"found after {iteration} iterations",
        ]
    _write(folder / f"predictions_{iteration:07d}.jpg", pictures, captions)


def _write(path: Path, pictures: Sequence[Tensor], captions: Sequence[str]) -> None:
    if pictures:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet = mosaic(pictures, captions)
        Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(path, quality=QUALITY)
