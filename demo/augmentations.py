"""Draws each augmentation on scenes of the demo: the images of docs/augmentation.md.

python -m demo.augmentations docs/images
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor

from centernet2.data.mixing import CopyPaste, Mixing, MixUp, Mosaic
from centernet2.data.transforms import (
    EfficientDetResizeCrop,
    LargeScaleJitter,
    PhotometricDistortion,
    RandomFlip,
    ResizeShortestEdge,
    Sample,
    TrainTransform,
    Transform,
)
from centernet2.images.stored_image import to_pixels
from centernet2.structures import Target
from centernet2.visualize import draw, picture_grid
from demo.digits import Scene, compose_split, xywh_around

EXAMPLES = 4
PLAIN = TrainTransform(steps=(ResizeShortestEdge(lengths=(200,), max_size=400, sampling="choice"),))
SINGLE: dict[str, Transform] = {
    "resize-and-crop": EfficientDetResizeCrop(size=200, scale_range=(0.5, 2.0)),
    "large-scale-jitter": LargeScaleJitter(size=200, scale_range=(0.3, 2.0)),
    "flip": RandomFlip(direction="horizontal", probability=1.0),
    "photometric-distortion": PhotometricDistortion(probability=0.9),
}
MIXED: dict[str, Mixing] = {
    "mosaic": Mixing(before=(Mosaic(size=160, probability=1.0),)),
    "mixup": Mixing(after=(MixUp(probability=1.0),)),
    "copy-paste": Mixing(after=(CopyPaste(probability=1.0),)),
}


def main(folder: Path) -> None:
    """Write one grid of pictures per augmentation."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = [as_sample(scene) for scene in islice(compose_split("train"), 5 * EXAMPLES)]
    for name, step in SINGLE.items():
        write(folder / f"augmentation-{name}.jpg", TrainTransform(steps=(step,)), scenes)
    for name, mixing in MIXED.items():
        write(
            folder / f"augmentation-{name}.jpg",
            partial(mixed, mixing, cycle(scenes[EXAMPLES:])),
            scenes,
        )


def mixed(
    mixing: Mixing, others: Iterator[Sample], image: Tensor, target: Target, generator: Generator
) -> Sample:
    """Mix a scene with others."""
    return mixing((image, target), partial(next, others), PLAIN, generator)


def as_sample(scene: Scene) -> Sample:
    """Convert a scene to a training sample."""
    boxes = [[x, y, x + w, y + h] for x, y, w, h in map(xywh_around, scene.masks)]
    target: Target = {
        "boxes": torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        "labels": torch.tensor(scene.labels),
        "masks": torch.from_numpy(np.stack(scene.masks)),
    }
    return torch.from_numpy(scene.image).permute(2, 0, 1).contiguous(), target


def write(
    path: Path, augment: Callable[[Tensor, Target, Generator], Sample], scenes: list[Sample]
) -> None:
    """Write a grid of pictures of augmented scenes with their boxes."""
    pictures = []
    for seed, (image, target) in enumerate(scenes[:EXAMPLES]):
        image, target = augment(image, target, Generator().manual_seed(seed))
        shown: Target = {"boxes": target["boxes"], "labels": target["labels"]}
        pictures.append(draw(to_pixels(image), shown, None))
    grid = picture_grid(pictures, [""] * EXAMPLES, columns=EXAMPLES, cell=240)
    Image.fromarray(grid).save(path, quality=82)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
