from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from centernet2.data.image import ImageError, read_image


def gradient(height: int = 6, width: int = 8) -> np.ndarray:
    values = np.linspace(0, 255, height * width * 3).round().astype(np.uint8)
    return values.reshape(height, width, 3)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "webp"])
def test_formats_without_loss(tmp_path: Path, suffix: str) -> None:
    pixels = gradient()
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
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
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
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


@pytest.mark.parametrize(("content", "words"), [(b"", "empty"), (b"hello, world", "no known format")])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes, words: str) -> None:
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
def test_colour_modes_look_like_the_plain_image(shared: Path, name: str) -> None:
    plain = read_image(shared / "data" / "broken" / "ok_a.jpg").float()
    assert (read_image(shared / "data" / "broken" / name).float() - plain).abs().mean() < 6


@pytest.mark.parametrize(
    ("name", "size"),
    [("grayscale.png", (120, 160)), ("tiny_1x1.png", (1, 1)), ("extreme_aspect_2000x4.png", (4, 2000))],
)
def test_unusual_but_valid_files(shared: Path, name: str, size: tuple[int, int]) -> None:
    assert read_image(shared / "data" / "broken" / name).shape == (3, *size)


def test_real_sixteen_bit_file_keeps_its_range(shared: Path) -> None:
    image = read_image(shared / "data" / "broken" / "16bit.png").float()
    assert image.std() > 40  # a clip would make it white, a cast would make it noise
    assert 100 < image.mean() < 200


def test_real_exif_file_is_upright(shared: Path) -> None:
    image = read_image(shared / "data" / "broken" / "exif_rotated.jpg").float()
    assert image.shape == (3, 160, 120)
    red, green = image[:, 8, 8], image[:, 8, 112]
    assert red[0] > 200 > 100 > red[1]
    assert green[1] > 100 > green[0]
