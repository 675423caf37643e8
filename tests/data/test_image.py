import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from centernet2.data.image import ImageError, StoredImage, image_size, read_image
from centernet2.data.resize import resize_image
from centernet2.data.transforms import (
    LargeScaleJitter,
    RandomFlip,
    ResizeShortestEdge,
    TrainTransform,
)
from centernet2.structures import Target


def gradient(height: int = 6, width: int = 8) -> np.ndarray:
    values = np.linspace(0, 255, height * width * 3).round().astype(np.uint8)
    return values.reshape(height, width, 3)


def test_pipes_and_folders_are_no_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path, reason in ((tmp_path / "pipe.png", "not a regular file"), (tmp_path, "a folder")):
        for read in (read_image, image_size):
            with pytest.raises(ImageError, match=f"{path.name}: the image is {reason}; replace"):
                read(path)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "webp"])
def test_formats_without_loss(tmp_path: Path, suffix: str) -> None:
    pixels = gradient()
    Image.fromarray(pixels).save(
        tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {})
    )
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.dtype == torch.uint8
    expected = torch.from_numpy(pixels).permute(2, 0, 1)
    assert torch.equal(image, expected)


def test_path_text_and_bytes_agree(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(gradient()).save(path)
    assert torch.equal(read_image(path), read_image(path.read_bytes()))
    assert torch.equal(read_image(path), read_image(str(path)))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert read_image(tmp_path / f"a.{suffix}")[:, 0].tolist() == [[0, 100, 255]] * 3


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    image = read_image(tmp_path / "a.gif")
    assert image.shape == (3, 3, 4)
    assert image[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_exif_orientation_is_applied(tmp_path: Path, suffix: str) -> None:
    stored = np.zeros((8, 16, 3), dtype=np.uint8)
    stored[:, :8, 0] = 255  # the left half is red, and is at the top when turned clockwise
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / f"a.{suffix}", exif=exif)
    image = read_image(tmp_path / f"a.{suffix}").float()
    assert image.shape == (3, 16, 8)
    assert image[0, :6].mean() > 240
    assert image[0, 10:].mean() < 15


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_size_of_the_header_is_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(gradient(8, 16)).save(path, exif=exif)
    assert image_size(path) == tuple(read_image(path).shape[1:])
    assert image_size(path) == ((8, 16) if orientation < 5 else (16, 8))


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="3"></x:xmpmeta>'


def test_orientation_of_xmp_is_not_applied(tmp_path: Path) -> None:
    """Decoding does not read it, so that the size of the header may not follow it either."""
    path = tmp_path / "a.jpg"
    Image.fromarray(gradient(8, 16)).save(path, xmp=XMP.replace(b"3", b"6"))
    assert image_size(path) == tuple(read_image(path).shape[1:]) == (8, 16)


def test_orientation_of_xmp_is_not_applied_to_a_reduced_image() -> None:
    content = jpeg(photo(1200, 1600), xmp=XMP)
    assert_alike(
        resize_image(stored(content, 1200, 1600), 120, 160),
        resize_image(read_image(content), 120, 160),
    )


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0", b"Exif\0\0MM", b"Exif\0\0II*\0\xff\0\0\0\1"])
def test_damaged_exif_has_no_orientation(tmp_path: Path, exif: bytes) -> None:
    for suffix in ("jpg", "png", "webp"):
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(gradient(8, 16)).save(path, exif=exif)
        assert image_size(path) == tuple(read_image(path).shape[1:]) == (8, 16)
    content = jpeg(photo(1200, 1600), exif=exif)
    assert stored(content, 1200, 1600).decode_for_size(100, 100).shape == (3, 300, 400)


def test_image_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(gradient(60, 80)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match=r"a\.png: the image is too large \(.*cut it into tiles"):
        read_image(tmp_path / "a.png")


def test_path_without_a_name_is_refused() -> None:
    with pytest.raises(ImageError, match="the path of an image is empty"):
        read_image("")
    with pytest.raises(ImageError, match="no file can have this name"):
        read_image("a\0.jpg")


def test_name_that_is_not_utf8_is_printable(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"caf\\xe9\.png: the image cannot be opened"):
        read_image(tmp_path / os.fsdecode(b"caf\xe9.png"))


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "empty"), (b"hello, world", "no known format")]
)
def test_error_names_a_file_without_image(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"a\.jpg.*{words}"):
        read_image(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nowhere\.jpg.*No such file"):
        read_image(tmp_path / "nowhere.jpg")


@pytest.mark.parametrize("name", ["truncated.jpg", "empty.jpg", "not_an_image.jpg"])
def test_real_broken_files(shared: Path, name: str) -> None:
    with pytest.raises(ImageError, match=name):
        read_image(shared / "data" / "broken" / name)


@pytest.mark.parametrize("name", ["cmyk.jpg", "rgba.png", "palette.png"])
def test_color_modes_equal_the_plain_image(shared: Path, name: str) -> None:
    plain = read_image(shared / "data" / "broken" / "ok_a.jpg").float()
    assert (read_image(shared / "data" / "broken" / name).float() - plain).abs().mean() < 6


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("grayscale.png", (120, 160)),
        ("tiny_1x1.png", (1, 1)),
        ("extreme_aspect_2000x4.png", (4, 2000)),
    ],
)
def test_unusual_but_valid_files(shared: Path, name: str, size: tuple[int, int]) -> None:
    assert read_image(shared / "data" / "broken" / name).shape == (3, *size)


def test_real_sixteen_bit_file(shared: Path) -> None:
    image = read_image(shared / "data" / "broken" / "16bit.png").float()
    assert image.std() > 40  # a clip would make it white, a cast would make it noise
    assert 100 < image.mean() < 200


def test_real_exif_file_is_upright(shared: Path) -> None:
    image = read_image(shared / "data" / "broken" / "exif_rotated.jpg").float()
    assert image.shape == (3, 160, 120)
    red, green = image[:, 8, 8], image[:, 8, 112]
    assert red[0] > 200 > 100 > red[1]
    assert green[1] > 100 > green[0]


def photo(height: int, width: int) -> Image.Image:
    """Smooth shapes, edges and noise, as a photograph has them."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    pixels[height // 3 : height // 2, width // 3 : width // 2] = 240
    return Image.fromarray(
        (pixels + rng.integers(-10, 11, pixels.shape)).clip(0, 255).astype(np.uint8)
    )


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
    assert_alike(resize_image(image, *target), resize_image(read_image(content), *target))


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
        resize_image(stored(content, 1200, 1600), *target),
        resize_image(read_image(content), *target),
    )


@pytest.mark.parametrize("target", [(300, 400), (1200, 1600), (2000, 2500), (120, 1600)])
def test_small_reductions_decode_the_whole_image(target: tuple[int, int]) -> None:
    content = jpeg(photo(1200, 1600))
    assert torch.equal(stored(content, 1200, 1600).decode_for_size(*target), read_image(content))


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
    whole = read_image(content)
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
            b, boxes_b = transform(read_image(content), target, generators[1])
            assert_alike(a, b)
            assert torch.equal(boxes_a["boxes"], boxes_b["boxes"])


def encoded(mode: str, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = photo(80, 120)
    image = image.quantize() if mode == "P" else image.convert(mode)
    image.save(buffer, format_, **options)
    return buffer.getvalue()


MODES = [
    *(("CMYK", name) for name in ("JPEG", "TIFF")),
    *(("L", name) for name in ("JPEG", "WEBP", "TIFF")),
    ("LA", "PNG"),
    *(("P", name) for name in ("PNG", "BMP", "TIFF")),
    *(("1", name) for name in ("PNG", "BMP", "TIFF")),
    *(("RGBA", name) for name in ("PNG", "WEBP", "TIFF", "BMP")),
]


@pytest.mark.parametrize(("mode", "format_"), MODES)
def test_color_modes_of_every_format(mode: str, format_: str) -> None:
    image = read_image(encoded(mode, format_))
    plain = (
        photo(80, 120)
        .convert("1" if mode == "1" else "L" if mode in ("L", "LA") else "RGB")
        .convert("RGB")
    )
    difference = (image.float() - torch.from_numpy(np.array(plain)).permute(2, 0, 1).float()).abs()
    assert difference.mean() < 10  # lossy formats and palettes of noise


@pytest.mark.parametrize(("mode", "format_"), MODES)
def test_truncated_file_is_refused(mode: str, format_: str) -> None:
    content = encoded(mode, format_)
    with pytest.raises(ImageError, match="not a readable image"):
        read_image(content[: len(content) // 2])
