"""Images as users hold them give the pixels of their file, or a sentence that says what to do."""

import io
import os
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from centernet2.predict.image_sources import as_image, several_images

HEIGHT, WIDTH = 20, 30


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


class PathLike(os.PathLike):
    """A path that is no pathlib.Path."""

    def __init__(self, name: str | bytes) -> None:
        self.name = name

    def __fspath__(self) -> str | bytes:
        return self.name


class Picture:
    """An object of another library that numpy can read."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.pixels


ORDERS = {
    "BGR": lambda pixels: pixels[:, :, ::-1],
    "flipped": lambda pixels: pixels[::-1],
    "rotated": lambda pixels: np.rot90(pixels),
    "part": lambda pixels: pixels[::2, 1::3],
    "columns first": np.asfortranarray,
    "read-only": lambda pixels: np.frombuffer(pixels.tobytes(), np.uint8).reshape(pixels.shape),
    "gray, flipped": lambda pixels: pixels[:, ::-1, 0],
    "16 bits, big-endian, flipped": lambda pixels: (pixels.astype(">u2") * 257)[::-1, ::-1],
}


@pytest.mark.parametrize("order", ORDERS)
def test_array_in_any_order_of_memory_is_taken_as_its_copy(order: str, pixels: np.ndarray) -> None:
    array = ORDERS[order](pixels)
    image = as_image(array)
    assert np.array_equal(image, as_image(array.copy(order="C")))
    values = np.asarray(array if array.dtype == np.uint8 else array / 257)
    assert np.array_equal(image[..., 0], values.reshape(*values.shape[:2], -1)[..., 0])


def test_memory_mapped_array_is_an_image(tmp_path: Path, pixels: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", pixels)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert np.array_equal(as_image(mapped), as_image(pixels))


def test_true_is_white(pixels: np.ndarray) -> None:
    bits = pixels > 127
    expected = bits.astype(np.uint8) * 255
    assert np.array_equal(as_image(bits), expected)
    assert np.array_equal(as_image(torch.from_numpy(bits).permute(2, 0, 1)), expected)
    assert np.array_equal(as_image(bits[..., 0]), as_image(Image.fromarray(bits[..., 0])))


def test_tensor_in_any_order_of_memory_is_an_image(pixels: np.ndarray) -> None:
    tensor = torch.from_numpy(pixels)  # [H, W, 3]
    assert np.array_equal(as_image(tensor.permute(2, 0, 1)), as_image(pixels))
    assert np.array_equal(as_image(tensor.permute(2, 1, 0)), as_image(pixels.transpose(1, 0, 2)))


def test_gray_images_get_three_channels(pixels: np.ndarray) -> None:
    gray = pixels[..., 0]
    expected = np.stack([gray] * 3, axis=2)
    for source in (gray, gray[..., None], torch.tensor(gray)[None], Image.fromarray(gray)):
        assert np.array_equal(as_image(source), expected)


@pytest.mark.parametrize("mode", ["I;16", "I", "L", "LA", "P", "1", "RGBA", "CMYK"])
def test_pillow_images_equal_their_files(tmp_path: Path, pixels: np.ndarray, mode: str) -> None:
    if mode.startswith("I"):
        values = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
        image = Image.fromarray(values.astype(np.uint16 if mode == "I;16" else np.int32))
    else:
        image = Image.fromarray(pixels).convert(mode)
    assert image.mode == mode
    path = tmp_path / "a.tif"
    image.save(path)
    for source in (image, Image.open(path)):
        assert np.array_equal(as_image(source), as_image(path))


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bits_are_scaled_alike_everywhere(tmp_path: Path, order: str) -> None:
    gray = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH)).astype(order)
    expected = np.stack([(gray / 257).round().astype(np.uint8)] * 3, axis=2)
    for path in (tmp_path / "a.png", tmp_path / "a.tif"):
        Image.fromarray(gray.astype(np.uint16)).save(path)
        for source in (path, path.read_bytes(), Image.open(path)):
            assert np.array_equal(as_image(source), expected), (path.name, type(source))
    channels = torch.from_numpy(gray.astype(np.uint16))[None]
    for pixels in (gray, gray[..., None], np.stack([gray] * 3, axis=-1), channels):
        assert np.array_equal(as_image(pixels), expected)


def test_content_of_a_file_is_decoded(path: Path, tmp_path: Path, pixels: np.ndarray) -> None:
    content, archive = path.read_bytes(), tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(path, "a.png")
    expected = as_image(pixels)
    with path.open("rb") as opened, zipfile.ZipFile(archive).open("a.png") as member:
        sources: list[Any] = [
            io.BytesIO(content), opened, member, zipfile.Path(archive) / "a.png", content,
            bytearray(content), memoryview(content), path, str(path), np.str_(path),
            PathLike(str(path)), PathLike(os.fsencode(path)), Picture(pixels), Image.open(path),
            np.insert(pixels, 3, 255, axis=2),  # opaque
        ]  # fmt: skip
        for source in sources:
            assert np.array_equal(as_image(source), expected), type(source)


def test_files_that_give_no_content_are_refused(path: Path, tmp_path: Path) -> None:
    with path.open("rb") as file:
        file.read()
        with pytest.raises(ValueError, match=r"a\.png: .*read to its end before; call its seek"):
            as_image(file)
    with pytest.raises(ValueError, match=r"a\.png: the file is closed"):
        as_image(file)
    with path.open(encoding="latin-1") as text, pytest.raises(ValueError, match="mode 'rb'"):
        as_image(text)
    capture = SimpleNamespace(read=lambda: (True, np.zeros((4, 5, 3), np.uint8)))  # as of OpenCV
    with pytest.raises(ValueError, match=r"its read\(\) returns a tuple, not bytes; give .* frame"):
        as_image(capture)
    with pytest.raises(ValueError, match="BytesIO: the image file is empty"):
        as_image(io.BytesIO())
    with pytest.raises(ValueError, match="BytesIO: not a readable image"):
        as_image(io.BytesIO(b"no image"))


def test_truncated_picture_is_named(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"a\.jpg: not a readable image"):
        as_image(Image.open(path))


def test_folder_and_empty_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder, not an image"):
        as_image(tmp_path)
    for empty in ("", Path("")):
        with pytest.raises(ValueError, match="the path of an image is empty"):
            as_image(empty)


FLOATS = np.linspace(0, 1, HEIGHT * WIDTH * 3, dtype=np.float32).reshape(HEIGHT, WIDTH, 3)
TENSOR = torch.from_numpy(FLOATS).permute(2, 0, 1)


@pytest.mark.parametrize(("source", "advice"), [
    (FLOATS, "convert it with (image * 255).round().astype(np.uint8)"),
    (FLOATS * 255, "convert it with image.round().astype(np.uint8)"),
    ((FLOATS * 255).astype(int), "convert it with image.round().astype(np.uint8)"),
    (FLOATS - 0.5, "its values, from -0.5 to 0.5, have no defined range"),
    (TENSOR, "convert it with (image * 255).round().to(torch.uint8)"),
    (TENSOR.clone().requires_grad_(), "convert it with (image * 255).round().to(torch.uint8)"),
    ((TENSOR * 255).to(torch.uint32), "convert it with image.round().to(torch.uint8)"),
    (TENSOR[None], "give the images of a batch as a list"),
    (np.zeros((3, HEIGHT, WIDTH), np.uint8), "convert it with transpose(1, 2, 0)"),
    (torch.zeros(HEIGHT, WIDTH, 3, dtype=torch.uint8), "convert it with permute(2, 0, 1)"),
    (torch.zeros(3, 4, 5, dtype=torch.uint8).to_sparse(), "to_dense()"),
    (torch.zeros(3, 4, 5, dtype=torch.uint8, device="meta"), "a dense tensor with values"),
])  # fmt: skip
def test_other_pixels_are_refused_with_their_conversion(source: Any, advice: str) -> None:
    with pytest.raises(ValueError, match=re.escape(advice)):
        as_image(source)


@pytest.mark.parametrize("source", [
    np.zeros((5, 6, 3)), np.zeros((5, 6, 2), np.uint8), np.zeros((0, 6, 3), np.uint8),
    np.zeros(5, np.uint8), torch.zeros(5, 6, dtype=torch.uint8),
])  # fmt: skip
def test_error_describes_wrong_arrays(source: Any) -> None:
    with pytest.raises(ValueError, match=r"uint8 .*not (float64|uint8) \["):
        as_image(source)


def test_pixels_without_a_range_are_refused() -> None:
    with pytest.raises(ValueError, match="floating-point pixels have no defined range"):
        as_image(Image.new("F", (WIDTH, HEIGHT)))
    with pytest.raises(ValueError, match=r"\[0, 5, 3\]"):
        as_image(Image.new("L", (5, 0)))


def test_bytes_in_sixteen_bits_are_refused() -> None:
    values = np.linspace(0, 255, HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3).astype(np.uint16)
    tensor = torch.from_numpy(values.astype(np.int32)).to(torch.uint16).permute(2, 0, 1)
    for source in (values, tensor):
        with pytest.raises(ValueError, match=r"uint16 pixels up to 255 are nearly black"):
            as_image(source)
    assert not as_image(np.zeros((4, 5), np.uint16)).any()


def test_dark_frames_of_sixteen_bits_are_images(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(200, 10, (HEIGHT, WIDTH)).astype(np.uint16)
    noise[0, 0], noise[1, 1] = 0, 255  # two defective pixels
    Image.fromarray(noise).save(tmp_path / "a.pgm")
    for source in (noise, noise[..., None].repeat(3, axis=2), tmp_path / "a.pgm"):
        assert as_image(source).max() == 1


def test_picture_that_was_closed_is_named(path: Path) -> None:
    with Image.open(path) as image:
        pass
    with path.open("rb") as file:
        other = Image.open(file)
    for closed in (image, other):
        with pytest.raises(ValueError, match=r"closed before its pixels were read; give it while"):
            as_image(closed)


class OnDevice:
    """An array of a library that copies nothing by itself, as CuPy."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")


@pytest.mark.parametrize("convert", [as_image, several_images])
def test_array_that_numpy_cannot_read_is_named(convert: Any) -> None:
    with pytest.raises(ValueError, match=r"type OnDevice cannot be read \(Implicit conversion"):
        convert(OnDevice())


@pytest.mark.parametrize("text", ["data:image/png;base64,iVBOR", "iVBOR" * 1000])
def test_content_as_text_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no path; give the content .* as bytes") as error:
        as_image(text)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(("low", "high"), [(-1, 9), (0, 65536), (0, 255), (7, 90)])
def test_other_pixels_of_32_bits_are_refused(tmp_path: Path, low: int, high: int) -> None:
    values = np.linspace(low, high, HEIGHT * WIDTH).round().reshape(HEIGHT, WIDTH)
    image = Image.fromarray(values.astype(np.int32))
    image.save(tmp_path / "a.tif")
    for source in (image, tmp_path / "a.tif"):
        with pytest.raises(ValueError, match=f"from {low} to {high} have no defined range"):
            as_image(source)


def test_the_advised_conversion_works() -> None:
    converted = as_image((TENSOR.clone().requires_grad_() * 255).round().to(torch.uint8))
    assert np.array_equal(converted, as_image((FLOATS * 255).round().astype(np.uint8)))
