"""Decode image files of any format to tensors."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchcodec.decoders import decode_image  # type: ignore[attr-defined]

from centernet2.data.storage import read_bytes

ORIENTATION = 0x0112  # EXIF tag: 5 to 8 rotate the image by 90 degrees
MIN_REDUCED_PIXELS = 1_000_000  # smaller images are decoded faster at full size
REDUCTIONS = (4, 2)  # factors at which libjpeg decodes with a fraction of the work
REDUCTION_MARGIN = 2.5  # the reduced sides are at least this many times the final ones


class ImageError(ValueError):
    """An image file that cannot be used."""


def read_image(source: Path | str | bytes) -> Tensor:  # uint8 [3, H, W] RGB
    """Decode an image file (path, URL or content), upright according to EXIF."""
    if isinstance(source, bytes):
        return _decode(source, "the given bytes")
    return _decode(read_file(source), str(source))


def read_file(source: Path | str) -> bytes:
    """Read the content of an image file; ImageError if it fails or there is none."""
    try:
        content = read_bytes(source)
    except OSError as error:
        reason = error.strerror or (
            "No such file" if isinstance(error, FileNotFoundError) else type(error).__name__
        )
        raise ImageError(
            f"{source}: the image cannot be opened ({reason}); check the path"
        ) from error
    if not content:
        raise ImageError(f"{source}: the image file is empty; replace it or leave it out")
    return content


@dataclass(frozen=True, eq=False)
class StoredImage:
    """An image file of known size that is not decoded yet.

    A large JPEG that will be resized to a small image is decoded at 1/2 or 1/4 of its size, by the
    smaller inverse transforms of libjpeg. The resized image differs by less than half a gray level
    on average, and by at most 4 in 999 of 1,000 values.
    """

    content: bytes
    name: str  # for messages
    height: int  # according to the annotations
    width: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return 3, self.height, self.width

    def decode(self) -> Tensor:  # uint8 [3, height, width]
        """Decode at full size; ImageError if that fails or the annotated size is wrong."""
        image = _decode(self.content, self.name)
        self._require_size(*image.shape[1:])
        return image

    def decode_for_size(self, height: int, width: int) -> Tensor:  # uint8 [3, H, W]
        """Decode at a reduced size if the image will be resized to a much smaller one."""
        largest = min(self.height / height, self.width / width) / REDUCTION_MARGIN
        reduction = next((r for r in REDUCTIONS if r <= largest), 1)
        if (
            reduction == 1
            or self.height * self.width < MIN_REDUCED_PIXELS
            or not self.content.startswith(b"\xff\xd8")
        ):
            return self.decode()
        return self._reduced(reduction)

    def _reduced(self, reduction: int) -> Tensor:
        try:
            with Image.open(io.BytesIO(self.content)) as file:
                if file.format != "JPEG" or file.mode not in ("L", "RGB"):  # such as CMYK
                    return self.decode()
                self._require_size(*_upright_size(file))
                file.draft(file.mode, (file.width // reduction, file.height // reduction))
                pixels = np.array(ImageOps.exif_transpose(file).convert("RGB"))  # [H, W, 3]
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ImageError(
                f"{self.name}: not a readable image ({error}); replace it or leave it out"
            ) from error
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def _require_size(self, height: int, width: int) -> None:
        if (height, width) != (self.height, self.width):
            raise ImageError(
                f"{self.name}: the image is {width} wide and {height} high, but {self.width} and "
                f"{self.height} in the annotations; correct them (EXIF orientation counts)"
            )


def _decode(content: bytes, name: str) -> Tensor:  # uint8 [3, H, W]
    try:
        image = decode_image(content)  # [3, H, W], or [frames, 3, H, W] of an animation
    except (ValueError, RuntimeError):
        return _read_with_pillow(content, name)
    return image[0] if image.ndim == 4 else image


def image_size(path: Path) -> tuple[int, int]:
    """Read height and width of an image from its header, upright according to EXIF."""
    try:
        with Image.open(path) as file:
            return _upright_size(file)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "of no known format" if isinstance(error, UnidentifiedImageError) else error
        raise ImageError(
            f"{path}: not a readable image ({reason}); replace it or leave it out"
        ) from error


def _upright_size(file: Image.Image) -> tuple[int, int]:
    """Height and width with the EXIF orientation applied."""
    rotated = file.getexif().get(ORIENTATION, 1) >= 5
    return (file.width, file.height) if rotated else (file.height, file.width)


def _read_with_pillow(content: bytes, name: str) -> Tensor:  # uint8 [3, H, W]
    """Decode formats unknown to torchcodec, such as BMP, or explain the failure."""
    try:
        with Image.open(io.BytesIO(content)) as file:
            return from_pillow(ImageOps.exif_transpose(file))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "of no known format" if isinstance(error, UnidentifiedImageError) else error
        raise ImageError(
            f"{name}: not a readable image ({reason}); replace it or leave it out"
        ) from error


def from_pillow(image: Image.Image) -> Tensor:  # uint8 [3, H, W] RGB
    """Convert an image of Pillow in any mode; a ValueError if its pixels have no range."""
    pixels = np.array(_to_eight_bits(image).convert("RGB"))  # [H, W, 3]
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit gray values, which Pillow would clip at 255."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined range: convert it to 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.float64)
    return Image.fromarray((values / 257).round().clip(0, 255).astype(np.uint8))
