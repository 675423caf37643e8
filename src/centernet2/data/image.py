"""Image files to tensors, whatever their format."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchcodec.decoders import decode_image  # type: ignore[attr-defined]

ORIENTATION = 0x0112  # EXIF tag: 5 to 8 turn the image by a quarter
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")  # of image files, in lower case


class ImageError(ValueError):
    """An image file that cannot be used."""


def read_image(source: Path | str | bytes) -> Tensor:  # uint8 [3, H, W] RGB
    """Decode an image file or its content, turned upright as its EXIF orientation says."""
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise ImageError(f"{name}: the image cannot be opened ({error.strerror}); check the path") from error
    if not content:
        raise ImageError(f"{name}: the image file is empty; replace it or leave it out")
    try:
        image = decode_image(content)  # [3, H, W], or [frames, 3, H, W] of an animation
    except (ValueError, RuntimeError):
        return _read_with_pillow(content, name)
    return image[0] if image.ndim == 4 else image


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file turned upright, from its header alone."""
    try:
        with Image.open(path) as file:
            turned = file.getexif().get(ORIENTATION, 1) >= 5
            return (file.width, file.height) if turned else (file.height, file.width)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "of no known format" if isinstance(error, UnidentifiedImageError) else error
        raise ImageError(f"{path}: not a readable image ({reason}); replace it or leave it out") from error


def _read_with_pillow(content: bytes, name: str) -> Tensor:  # uint8 [3, H, W]
    """The formats that torchcodec does not know (BMP, TIFF ...), and the word on what is no image at all."""
    try:
        with Image.open(io.BytesIO(content)) as file:
            upright = ImageOps.exif_transpose(file)
            pixels = np.array(_to_eight_bits(upright).convert("RGB"))  # [H, W, 3]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "of no known format" if isinstance(error, UnidentifiedImageError) else error
        raise ImageError(f"{name}: not a readable image ({reason}); replace it or leave it out") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey values, which Pillow would clip at 255."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined range: save it with 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.float64)
    return Image.fromarray((values / 257).round().clip(0, 255).astype(np.uint8))
