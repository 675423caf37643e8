"""A random data set whose objects are known, and the comparison with what was read of it."""

import io
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from centernet2.data.dataset import DetectionDataset

# words that a careless YAML, JSON or XML reader takes for something else
CLASS_NAMES = (
    "cat", "dog", "Dog", "traffic light", "on", "off", "no", "null", "~", "007", "1e3", "3.10",
    "être", "猫", "a,b", "x & y", "true", "2024-01-01",
)  # fmt: skip
STEMS = ("1", "0007", "photo", "my photo", "a.b", "IMG_20240101", "é", "x-y", "(2)")
SIZES = ((64, 48), (48, 64), (50, 50))  # width, height
TOLERANCE = 0.02  # pixels; layouts round

Box = tuple[float, float, float, float]  # x, y, width, height
Objects = list[tuple[str, Box]]


@dataclass
class TrueImage:
    """An image and its objects, class name and box in whole pixels."""

    stem: str
    width: int
    height: int
    objects: Objects


@dataclass
class Truth:
    """The images of each split, and the names of the classes in the order of their numbers."""

    classes: list[str]
    splits: dict[str, list[TrueImage]]


def random_truth(rng: Random) -> Truth:
    """Draw one to four classes and two to four images per split; the first has an object."""
    classes = rng.sample(CLASS_NAMES, rng.randint(1, 4))
    splits = {}
    for split in ("train", "val"):
        stems = rng.sample(STEMS, rng.randint(2, 4))
        splits[split] = [
            _random_image(f"{split[0]}{stem}", classes, rng, least=int(k == 0))
            for k, stem in enumerate(stems)
        ]
    return Truth(classes, splits)


def _random_image(stem: str, classes: list[str], rng: Random, *, least: int) -> TrueImage:
    width, height = rng.choice(SIZES)
    boxes = set()
    for _ in range(rng.randint(least, 3)):
        x, y = rng.randint(0, width - 6), rng.randint(0, height - 6)
        boxes.add((x, y, rng.randint(4, width - x), rng.randint(4, height - y)))
    objects: Objects = [(rng.choice(classes), box) for box in sorted(boxes)]
    return TrueImage(stem, width, height, objects)


@cache
def _encoded(width: int, height: int, kind: str) -> bytes:
    rng = np.random.default_rng(width)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(file, kind)
    return file.getvalue()


def write_image(path: Path, image: TrueImage, habits: Collection[str] = ()) -> None:
    """Write noise of the image's size, in the format of the suffix.

    Args:
        habits: "turned" and "damaged_exif" write EXIF where the format has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix, size = path.suffix.lower(), (image.width, image.height)
    kind = {".png": "PNG", ".bmp": "BMP", ".webp": "WEBP"}.get(suffix, "JPEG")
    path.write_bytes(_encoded(*size, kind))
    if kind != "BMP" and "turned" in habits:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", size[::-1]).save(path, kind, exif=exif)
    elif kind != "BMP" and "damaged_exif" in habits:
        Image.new("RGB", size).save(path, kind, exif=b"Exif\0\0II*\0")


def objects_read(dataset: DetectionDataset) -> dict[str, Objects]:
    """Return the objects of a data set by the stem of the image file."""
    found = {}
    for i in range(len(dataset)):
        rows = range(*dataset.offsets[i : i + 2].tolist())
        found[dataset.image_path(i).stem] = [
            (dataset.class_names[dataset.labels[row]], _box(dataset.xywh[row].tolist()))
            for row in rows
        ]
    return found


def _box(numbers: list[float]) -> Box:
    x, y, width, height = numbers
    return x, y, width, height


def differences(
    images: Iterable[TrueImage], found: dict[str, Objects], *, doubled: bool
) -> tuple[int, list[str]]:
    """Compare what was read with the truth.

    Args:
        doubled: objects may have been read twice.

    Returns:
        The number of objects that were not read, and each object or image that was made up.
    """
    missing, invented = 0, []
    images = list(images)
    for image in images:
        left = list(found.get(image.stem, []))
        for name, box in image.objects:
            matches = [each for each in left if each[0].strip() == name and _near(each[1], box)]
            missing += not matches
            for match in matches[: 2 if doubled else 1]:
                left.remove(match)
        invented += [f"{image.stem}: {each}" for each in left]
    stems = Counter(image.stem for image in images)
    invented += [f"image {stem}" for stem in found if stem not in stems]
    return missing, invented


def _near(box: Box, other: Box) -> bool:
    return max(abs(a - b) for a, b in zip(box, other, strict=True)) <= TOLERANCE
