"""Image files that are decoded as tensors, at the size that is needed."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from centernet2.data.transforms import (
    LargeScaleJitter,
    RandomFlip,
    ResizeShortestEdge,
    TrainTransform,
)
from centernet2.images.image_files import ImageError, read_image
from centernet2.images.resize import resize_image
from centernet2.images.stored_image import StoredImage, to_pixels, to_tensor
from centernet2.structures import Target
from tests.helpers.photographs import photo


def decoded(content: bytes) -> torch.Tensor:
    return to_tensor(read_image(content))


def test_tensor_and_array_share_their_memory() -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    image = to_tensor(pixels)
    image[0, 1, 2] = 9
    assert pixels[1, 2].tolist() == [9, 0, 0] and np.shares_memory(to_pixels(image), pixels)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def stored(content: bytes, height: int, width: int) -> StoredImage:
    return StoredImage(content, "a.jpg", height, width)


def assert_alike(a: torch.Tensor, b: torch.Tensor) -> None:
    """Assert a mean difference of half a gray level, and 4 for 99.9 % of the values."""
    assert a.shape == b.shape
    difference = (a.float() - b.float()).abs()
    assert difference.mean() < 0.5
    assert difference.flatten().quantile(0.999) <= 4


@pytest.mark.parametrize(("target", "reduction"), [((240, 320), 2), ((120, 160), 4), ((40, 60), 4)])
def test_reduced_jpeg_is_within_tolerance(target: tuple[int, int], reduction: int) -> None:
    content = jpeg(photo(1200, 1600))
    image = stored(content, 1200, 1600)
    assert image.decode_for_size(*target).shape == (3, 1200 // reduction, 1600 // reduction)
    assert_alike(resize_image(image, *target), resize_image(decoded(content), *target))


@pytest.mark.parametrize("target", [(240, 320), (120, 160), (60, 80)])
def test_reduced_photographs_are_within_tolerance(shared: Path, target: tuple[int, int]) -> None:
    """Twelve pictures side by side, at the full sharpness of their pixels."""
    files = sorted((shared / "data" / "coco_tiny" / "coco2017" / "train2017").glob("*.jpg"))[:12]
    grid = Image.new("RGB", (1600, 1200))
    for i, file in enumerate(files):
        grid.paste(
            Image.open(file).convert("RGB").resize((400, 400)), (400 * (i % 4), 400 * (i // 4))
        )
    content = jpeg(grid)
    assert_alike(
        resize_image(stored(content, 1200, 1600), *target), resize_image(decoded(content), *target)
    )


@pytest.mark.parametrize("target", [(300, 400), (1200, 1600), (2000, 2500), (120, 1600)])
def test_small_reductions_decode_the_whole_image(target: tuple[int, int]) -> None:
    content = jpeg(photo(1200, 1600))
    assert torch.equal(stored(content, 1200, 1600).decode_for_size(*target), decoded(content))


def test_small_and_other_files_are_not_reduced() -> None:
    small, buffer = jpeg(photo(480, 640)), io.BytesIO()
    assert stored(small, 480, 640).decode_for_size(20, 30).shape == (3, 480, 640)
    photo(1200, 1600).save(buffer, "PNG", compress_level=1)
    assert stored(buffer.getvalue(), 1200, 1600).decode_for_size(20, 30).shape == (3, 1200, 1600)
    cmyk = stored(jpeg(photo(1200, 1600).convert("CMYK")), 1200, 1600)
    assert cmyk.decode_for_size(20, 30).shape == (3, 1200, 1600)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_reduced_image_is_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = jpeg(photo(1200, 1600), exif=exif)
    whole = decoded(content)
    image = stored(content, *whole.shape[1:])
    assert image.decode_for_size(100, 100).shape[1] == whole.shape[1] // 4
    assert_alike(resize_image(image, 100, 100), resize_image(whole, 100, 100))


def test_reduced_grey_jpeg_has_three_channels() -> None:
    image = stored(jpeg(photo(1200, 1600).convert("L")), 1200, 1600).decode_for_size(100, 100)
    assert image.shape == (3, 300, 400)
    assert torch.equal(image[0], image[2])


@pytest.mark.parametrize("target", [(1200, 1600), (100, 100)])
def test_damaged_stored_image_is_named(target: tuple[int, int]) -> None:
    content = jpeg(photo(1200, 1600))
    with pytest.raises(
        ImageError, match=r"a\.jpg: the image is 1600 wide and 1200 high, but 1600 and 1201"
    ):
        stored(content, 1201, 1600).decode_for_size(*target)
    with pytest.raises(ImageError, match=r"a\.jpg: not a readable image"):
        stored(content[: len(content) // 2], 1200, 1600).decode_for_size(*target)


def test_stored_image_uses_the_same_random_numbers() -> None:
    content = jpeg(photo(1200, 1600))
    target: Target = {
        "boxes": torch.tensor([[100.0, 200.0, 900.0, 800.0]]),
        "labels": torch.tensor([3]),
    }
    resize = ResizeShortestEdge(lengths=(150, 300), max_size=500, sampling="range")
    jitter = LargeScaleJitter(size=320, scale_range=(0.5, 1.0))
    for first in (resize, jitter, RandomFlip(direction="vertical")):
        transform = TrainTransform(steps=(first, RandomFlip(direction="horizontal")))
        for seed in range(5):
            generators = [torch.Generator().manual_seed(seed) for _ in range(2)]
            a, boxes_a = transform(stored(content, 1200, 1600), target, generators[0])
            b, boxes_b = transform(decoded(content), target, generators[1])
            assert_alike(a, b)
            assert torch.equal(boxes_a["boxes"], boxes_b["boxes"])


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="3"></x:xmpmeta>'


def test_orientation_of_xmp_is_not_applied_to_a_reduced_image() -> None:
    content = jpeg(photo(1200, 1600), xmp=XMP)
    assert_alike(
        resize_image(stored(content, 1200, 1600), 120, 160),
        resize_image(decoded(content), 120, 160),
    )


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0", b"Exif\0\0MM", b"Exif\0\0II*\0\xff\0\0\0\1"])
def test_reduced_image_with_damaged_exif_is_not_turned(exif: bytes) -> None:
    content = jpeg(photo(1200, 1600), exif=exif)
    assert stored(content, 1200, 1600).decode_for_size(100, 100).shape == (3, 300, 400)
