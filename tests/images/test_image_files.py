import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from centernet2.images import image_files
from centernet2.images.image_files import ImageError, from_pillow, image_size, read_image
from tests.helpers.photographs import photo


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
    assert image.dtype == np.uint8 and np.array_equal(image, pixels)


def test_path_text_and_bytes_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(gradient()).save(path)
    assert np.array_equal(read_image(path), read_image(path.read_bytes()))
    assert np.array_equal(read_image(path), read_image(str(path)))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert np.array_equal(read_image(path), read_image("~/a.png"))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert read_image(tmp_path / f"a.{suffix}")[0].tolist() == [[v] * 3 for v in (0, 100, 255)]


TWELVE_BITS = np.array([[0, 1024, 2048, 4095]], dtype=np.uint16)


def tiff(values: np.ndarray, tags: dict[int, int]) -> bytes:
    """Return a TIFF file with tags of 16 bits."""
    entries, buffer = ImageFileDirectory_v2(), io.BytesIO()
    for tag, value in tags.items():
        entries.tagtype[tag] = 3
        entries[tag] = value
    Image.fromarray(values).save(buffer, "TIFF", tiffinfo=entries)
    return buffer.getvalue()


def packed_tiff() -> bytes:
    """Return a TIFF file of TWELVE_BITS with 12 bits per sample, which Pillow does not write."""
    tags = {256: 4, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 6}
    bits = "".join(f"{value:012b}" for value in TWELVE_BITS[0])
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    rows = int(bits, 2).to_bytes(6, "big")
    start = struct.pack("<2sHI", b"II", 42, 14)
    return start + rows + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("content", [
    packed_tiff(),
    tiff(TWELVE_BITS, {281: 4095}),
    tiff(TWELVE_BITS, {341: 4095}),
    tiff(TWELVE_BITS * 4 + 3, {281: 16383}),
])  # fmt: skip
def test_tiff_states_the_value_of_white(content: bytes) -> None:
    notices: list[str] = []
    pixels = read_image(content, notice=notices.append)
    assert pixels[0, :, 0].tolist() == [0, 64, 128, 255] and not notices
    assert np.array_equal(from_pillow(Image.open(io.BytesIO(content))), pixels)


@pytest.mark.parametrize(("values", "largest"), [
    (TWELVE_BITS, 3127),  # the largest value of another image of its camera
    (np.array([[0, 257 * 4, 257 * 8, 257 * 255]], np.uint16), 4095),  # which is wrong
])  # fmt: skip
def test_other_largest_values_of_tiff_do_not_count(values: np.ndarray, largest: int) -> None:
    expected = (values / 257).round()
    assert np.array_equal(read_image(tiff(values, {281: largest}))[..., 0], expected)


def png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def test_files_whose_white_is_unknown_are_noticed_if_dark() -> None:
    def notices(content: bytes) -> list[str]:
        found: list[str] = []
        read_image(content, name="a.file", notice=found.append)
        return found

    wide = tiff(TWELVE_BITS, {281: 3127})
    for content in (tiff(TWELVE_BITS, {}), wide, png(TWELVE_BITS), deep_png(4096)):
        (sentence,) = notices(content)
        assert sentence.startswith("a.file: the image is nearly black: its pixels have 16 bits")
    bright, eight_bits = TWELVE_BITS * 16, np.full((3, 4), 9, np.uint8)
    for content in (
        tiff(bright, {}),
        png(bright),
        deep_png(),
        png(eight_bits),
        tiff(eight_bits, {}),
    ):
        assert not notices(content)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    image = read_image(tmp_path / "a.gif")
    assert image.shape == (3, 4, 3)
    assert image[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_exif_orientation_is_applied(tmp_path: Path, suffix: str) -> None:
    stored = np.zeros((8, 16, 3), dtype=np.uint8)
    stored[:, :8, 0] = 255  # the left half is red, and is at the top when turned clockwise
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / f"a.{suffix}", exif=exif)
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.shape == (16, 8, 3)
    assert image[:6, :, 0].mean() > 240
    assert image[10:, :, 0].mean() < 15


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_size_of_the_header_is_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(gradient(8, 16)).save(path, exif=exif)
    assert image_size(path) == read_image(path).shape[:2]
    assert image_size(path) == ((8, 16) if orientation < 5 else (16, 8))


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="3"></x:xmpmeta>'


def test_orientation_of_xmp_is_not_applied(tmp_path: Path) -> None:
    """Decoding does not read it, so that the size of the header may not follow it either."""
    path = tmp_path / "a.jpg"
    Image.fromarray(gradient(8, 16)).save(path, xmp=XMP.replace(b"3", b"6"))
    assert image_size(path) == read_image(path).shape[:2] == (8, 16)


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0", b"Exif\0\0MM", b"Exif\0\0II*\0\xff\0\0\0\1"])
def test_damaged_exif_has_no_orientation(tmp_path: Path, exif: bytes) -> None:
    for suffix in ("jpg", "png", "webp"):
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(gradient(8, 16)).save(path, exif=exif)
        assert image_size(path) == read_image(path).shape[:2] == (8, 16)


def test_image_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(gradient(60, 80)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match=r"a\.png: the image is too large \(.*cut it into tiles"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_image_above_the_limit_of_pillow_is_read_where_it_is_expected(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(gradient(60, 80)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert np.array_equal(read_image(path, max_pixels=4800), gradient(60, 80))
    with pytest.raises(ImageError, match=rf"a\.{suffix}: the image is too large \(.*of at most"):
        read_image(path, max_pixels=4799)
    assert Image.MAX_IMAGE_PIXELS == 1000  # of Pillow's other users


def test_lifted_limit_stays_a_number_that_other_threads_can_double() -> None:
    with image_files._without_limit():
        assert isinstance(Image.MAX_IMAGE_PIXELS, int) and 2 * Image.MAX_IMAGE_PIXELS > 1e12


def test_large_image_is_read_without_a_warning_of_pillow(tmp_path: Path) -> None:
    Image.fromarray(gradient(60, 80)).save(tmp_path / "a.png")
    lines = [
        "from PIL import Image",
        "from centernet2.images.image_files import read_image",
        "Image.MAX_IMAGE_PIXELS = 4000",  # Pillow warns above it, and refuses twice as many
        "print(read_image('a.png').shape)",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("(60, 80, 3)\n", "")


def test_path_without_a_name_is_refused() -> None:
    with pytest.raises(ImageError, match="the path of an image is empty"):
        read_image("")
    with pytest.raises(ImageError, match="no file can have this name"):
        read_image("a\0.jpg")


def test_name_that_is_not_utf8_is_printable(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"caf\\xe9\.png: the image cannot be opened"):
        read_image(tmp_path / os.fsdecode(b"caf\xe9.png"))


@pytest.mark.parametrize(("content", "words"), [
    (b"", "empty"),
    (b"hello, world", "no known format"),
    (b"\n\n<!DOCTYPE html>\n<html>", "it is a web page; give the address of the image itself"),
    (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    (b"%PDF-1.7\n", "a PDF file"),
])  # fmt: skip
def test_error_names_a_file_without_image(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"a\.jpg.*{words}"):
        read_image(path)
    if content:
        with pytest.raises(ImageError, match=rf"a\.jpg.*{words}"):
            image_size(path)


def test_preview_in_a_raw_file_is_no_image(tmp_path: Path) -> None:
    """Pillow takes the small picture at the beginning of such files for all of it."""
    Image.new("RGB", (16, 12)).save(tmp_path / "a.tif", tiffinfo={0x00FE: 1})
    (tmp_path / "a.tif").rename(tmp_path / "a.dng")
    with pytest.raises(ImageError, match=r"a\.dng: not a readable image \(it is the preview in a"):
        read_image(tmp_path / "a.dng")


def test_smaller_copy_in_a_pyramid_is_an_image(tmp_path: Path) -> None:
    overview = Image.new("RGB", (8, 6))
    overview.encoderinfo = {"tiffinfo": {0x00FE: 1}}
    path = tmp_path / "a.tif"
    Image.new("RGB", (16, 12)).save(path, save_all=True, append_images=[overview])
    with Image.open(path) as image:
        image.seek(1)
        assert image.tag_v2[0x00FE] == 1  # type: ignore[attr-defined]
        assert from_pillow(image).shape == (6, 8, 3)


def test_lack_of_memory_is_no_fault_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(image_files, "upright", fail)
    with pytest.raises(MemoryError, match="the given image: the image does not fit"):
        from_pillow(Image.new("RGB", (16, 12)))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nowhere\.jpg.*No such file"):
        read_image(tmp_path / "nowhere.jpg")


@pytest.mark.parametrize(("name", "size"), [
    ("grayscale.png", (120, 160)),
    ("tiny_1x1.png", (1, 1)),
    ("extreme_aspect_2000x4.png", (4, 2000)),
])  # fmt: skip
def test_unusual_but_valid_files(shared: Path, name: str, size: tuple[int, int]) -> None:
    assert read_image(shared / "data" / "broken" / name).shape == (*size, 3)


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
    assert np.abs(image - np.array(plain, float)).mean() < 10  # lossy formats and palettes of noise


@pytest.mark.parametrize(("mode", "format_"), MODES)
def test_truncated_file_is_refused(mode: str, format_: str) -> None:
    content = encoded(mode, format_)
    with pytest.raises(ImageError, match="not a readable image"):
        read_image(content[: len(content) // 2])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("mode", "format_"), [*MODES, ("RGB", "JPEG"), ("RGB", "WEBP")])
def test_pillow_gives_the_pixels_of_torchcodec(
    mode: str, format_: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(mode, format_, **({} if format_ == "BMP" else {"exif": exif}))
    expected = read_image(content)
    monkeypatch.setattr(image_files, "sys", SimpleNamespace(modules={}))  # without torch
    assert np.array_equal(read_image(content), expected)


def test_pillow_and_torchcodec_round_colors_of_sixteen_bits_alike_but_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = read_image(deep_png())
    monkeypatch.setattr(image_files, "sys", SimpleNamespace(modules={}))
    assert np.abs(read_image(deep_png()).astype(int) - expected).max() == 1


def deep_png(end: int = 65536) -> bytes:
    """Return a PNG file with 16 bits for each color, which Pillow does not write."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, end, (40, 30, 3)).astype(">u2")
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", 30, 40, 16, 2, 0, 0, 0)
    parts = {b"IHDR": header, b"IDAT": zlib.compress(lines), b"IEND": b""}
    chunks = (
        struct.pack(">I", len(content)) + name + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts.items()
    )  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
