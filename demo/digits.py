"""A detection data set of handwritten digits: scikit-learn's, on crops of its two photographs.

Each of the 1,797 digits belongs to one split: validation shows handwriting unknown in training.
A scene depends on its split, its number and the constants below alone; equal calls write equal
files.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from sklearn.datasets import load_digits, load_sample_images

SEED = 0
UNSEEN = "unseen"  # the split without annotations
SCENES = {"train": 1000, "val": 120, UNSEEN: 12}
SHARES = {"train": 0.7, "val": 0.2, UNSEEN: 0.1}  # of the handwritten digits

CANVAS = 160  # pixels, height and width
DIGITS = (3, 8)  # in a scene, both ends included
SIZE = (24, 56)  # pixels of the longer side of a digit's square; log-uniform
STRETCH = 1.2  # largest change of a digit's aspect ratio
ROTATION = 15  # degrees either way: a 6 stays a 6
CONTRAST = (90, 170)  # gray levels between a digit's ink and its background
MIN_VISIBLE = 0.75  # share of a digit's ink that later digits and bars leave visible
MAX_INTERSECTION = 0.35  # of two boxes, as a share of the smaller one
STROKES = (2, 6)  # faint lines under the digits
BARS = (0, 2)  # opaque lines over them
NOISE = 6  # standard deviation in gray levels
ATTEMPTS = 30  # to place one digit or bar

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class Digits(NamedTuple):
    """Handwritten digits."""

    images: Pixels  # [I, 8, 8], ink is bright
    labels: NDArray[np.int64]  # [I] in 0..9


class Scene(NamedTuple):
    """An image and its visible digits."""

    image: Pixels  # [H, W, 3]
    labels: list[int]  # [G]
    masks: list[Mask]  # [G] of [H, W]: the visible ink of each digit


def compose_split(split: str) -> Iterator[Scene]:
    """Compose the scenes of "train", "val" or "unseen", one after the other."""
    digits, photos = split_digits(split), load_sample_images().images
    for number in range(SCENES[split]):
        yield compose_scene(
            np.random.default_rng([SEED, list(SCENES).index(split), number]), digits, photos
        )


def write_split(folder: Path, split: str, scenes: Iterable[Scene]) -> None:
    """Write images/ and annotations/instances_{split}.json; unseen scenes have images only."""
    target = folder / (UNSEEN if split == UNSEEN else "images")
    target.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes):
        name = f"{split}_{number:04d}.jpg"
        Image.fromarray(scene.image).save(target / name, quality=92)
        images.append({"id": number + 1, "file_name": name, "height": CANVAS, "width": CANVAS})
        for label, mask in zip(scene.labels, scene.masks, strict=True):
            annotation = {
                "id": len(annotations) + 1,
                "image_id": number + 1,
                "category_id": label + 1,
                "iscrowd": 0,
            }
            annotations.append(annotation | {"bbox": xywh_around(mask), "area": int(mask.sum())})
    if split != UNSEEN:
        categories = [{"id": label + 1, "name": str(label)} for label in range(10)]
        path = folder / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            json.dumps({"images": images, "annotations": annotations, "categories": categories})
        )


def split_digits(split: str) -> Digits:
    """Take the digits that belong to one split."""
    data = load_digits()
    order = np.random.default_rng(SEED).permutation(len(data.target))
    ends = np.cumsum([0.0, *SHARES.values()]) * len(order)
    index = list(SHARES).index(split)
    mine = order[round(ends[index]) : round(ends[index + 1])]
    return Digits(np.round(data.images[mine] * (255 / 16)).astype(np.uint8), data.target[mine])


def compose_scene(rng: np.random.Generator, digits: Digits, photos: Sequence[Pixels]) -> Scene:
    """Compose a background, faint strokes, digits, and bars in front of them."""
    image = background(rng, photos)  # [H, W, 3] float32
    owner = np.full((CANVAS, CANVAS), -1, np.int16)  # index of the digit on top; -1: none
    ink: list[int] = []  # pixels of each digit, hidden or not
    labels: list[int] = []
    for _ in range(rng.integers(DIGITS[0], DIGITS[1] + 1)):
        chosen = rng.integers(len(digits.labels))
        alpha = render(rng, digits.images[chosen])
        for _ in range(ATTEMPTS):
            top, left = (int(rng.integers(0, CANVAS - size + 1)) for size in alpha.shape)
            placed = np.zeros((CANVAS, CANVAS), np.float32)
            placed[top : top + alpha.shape[0], left : left + alpha.shape[1]] = alpha
            covered = np.where(placed > 0.5, len(ink), owner)
            if is_apart(owner, placed > 0.5, len(ink)) and stay_visible(covered, ink):
                owner = covered.astype(np.int16)
                ink.append(int((placed > 0.5).sum()))
                labels.append(int(digits.labels[chosen]))
                image += placed[..., None] * (ink_color(rng, image[placed > 0.5]) - image)
                break
    for _ in range(rng.integers(BARS[0], BARS[1] + 1)):
        for _ in range(ATTEMPTS):
            bar = line(rng, width=int(rng.integers(3, 7)))
            covered = np.where(bar > 0.5, -1, owner)
            if stay_visible(covered, ink):
                owner = covered.astype(np.int16)
                image += bar[..., None] * (rng.uniform(0, 255, 3) - image)
                break
    image += rng.normal(0, NOISE, image.shape)
    masks = [owner == index for index in range(len(ink))]
    return Scene(image.clip(0, 255).round().astype(np.uint8), labels, masks)


def is_apart(owner: NDArray[np.int16], mask: Mask, count: int) -> bool:
    """Whether a digit's box hardly intersects the boxes of the `count` digits before it."""
    return all(
        intersection_share(xywh_around(mask), xywh_around(owner == index)) <= MAX_INTERSECTION
        for index in range(count)
    )


def stay_visible(owner: NDArray[np.int16], ink: Sequence[int]) -> bool:
    """Whether enough of each digit's ink is visible."""
    return all((owner == index).sum() >= MIN_VISIBLE * pixels for index, pixels in enumerate(ink))


def background(rng: np.random.Generator, photos: Sequence[Pixels]) -> NDArray[np.float32]:
    """Draw a crop of a photograph, a color gradient and faint strokes: [H, W, 3]."""
    photo = Image.fromarray(photos[rng.integers(len(photos))])
    side = int(rng.integers(CANVAS // 2, min(photo.size)))
    left, top = (int(rng.integers(0, size - side + 1)) for size in photo.size)
    crop = photo.resize(
        (CANVAS, CANVAS), Image.Resampling.BILINEAR, (left, top, left + side, top + side)
    )
    texture = np.asarray(crop.filter(ImageFilter.GaussianBlur(1)), np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-0.5 : 0.5 : CANVAS * 1j, -0.5 : 0.5 : CANVAS * 1j]
    gradient = (0.5 + x * np.cos(angle) + y * np.sin(angle))[..., None]  # [H, W, 1], about 0..1
    colors = rng.uniform(20, 235, (2, 1, 1, 3))
    image = 0.5 * (texture - texture.mean()) + colors[0] * gradient + colors[1] * (1 - gradient)
    for _ in range(rng.integers(STROKES[0], STROKES[1] + 1)):
        image += line(rng, width=int(rng.integers(1, 4)))[..., None] * rng.uniform(-40, 40, 3)
    return image.clip(0, 255).astype(np.float32)


def line(rng: np.random.Generator, *, width: int) -> NDArray[np.float32]:
    """Draw a random line segment: its coverage of each pixel, [H, W] in 0..1."""
    canvas = Image.new("L", (CANVAS, CANVAS))
    middle, angle, half = (
        rng.uniform(0, CANVAS, 2),
        rng.uniform(0, np.pi),
        rng.uniform(0.1, 0.4) * CANVAS,
    )
    reach = half * np.array([np.cos(angle), np.sin(angle)])
    ImageDraw.Draw(canvas).line([*(middle - reach), *(middle + reach)], fill=255, width=width)
    return np.asarray(canvas.filter(ImageFilter.GaussianBlur(0.6)), np.float32) / 255


def render(rng: np.random.Generator, digit: Pixels) -> NDArray[np.float32]:
    """Scale, stretch and rotate a digit [8, 8]: its ink's coverage of each pixel, cropped."""
    size = np.exp(rng.uniform(*np.log(SIZE)))
    ratio = np.exp(rng.uniform(-1, 1) * np.log(STRETCH) / 2)
    glyph = Image.fromarray(digit).resize(
        (round(size / ratio), round(size * ratio)), Image.Resampling.BICUBIC
    )
    glyph = glyph.rotate(rng.uniform(-ROTATION, ROTATION), Image.Resampling.BICUBIC, expand=True)
    alpha = ((np.asarray(glyph, np.float32) / 255 - 0.25) / 0.35).clip(0, 1)  # from pencil to ink
    left, top, width, height = xywh_around(alpha > 0.5)
    return alpha[top : top + height, left : left + width]


def ink_color(rng: np.random.Generator, ground: NDArray[np.float32]) -> NDArray[np.float64]:
    """Choose a color [3] lighter or darker than the pixels [P, 3] below it."""
    level, contrast = float(ground.mean()), rng.uniform(*CONTRAST)
    darker = contrast < level and (rng.random() < 0.5 or level + contrast > 255)
    target = level - contrast if darker else level + contrast
    return np.clip(target + rng.uniform(-40, 40, 3), 0, 255)


def xywh_around(mask: Mask) -> list[int]:
    """The box (left, top, width, height) around the pixels that are set, as COCO writes it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]


def intersection_share(a: Sequence[int], b: Sequence[int]) -> float:
    """Intersection of two boxes (left, top, width, height) as a share of the smaller one."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0, width) * max(0, height) / min(a[2] * a[3], b[2] * b[3])
