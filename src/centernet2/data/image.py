"""Decode image files of any format to tensors."""

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile
from torch import Tensor
from torchcodec.decoders import decode_image  # type: ignore[attr-defined]

from centernet2.data.storage import read_bytes, remote_url
from centernet2.files import irregular_kind, printable

ORIENTATION = 0x0112  # EXIF tag
ROTATED = (5, 6, 7, 8)  # its values that rotate the image by 90 degrees
TRANSPOSITIONS = {  # that make the image of each value upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
MIN_REDUCED_PIXELS = 1_000_000  # smaller images are decoded faster at full size
REDUCTIONS = (4, 2)  # factors at which libjpeg decodes with a fraction of the work
REDUCTION_MARGIN = 2.5  # the reduced sides are at least this many times the final ones
SIXTEEN_BITS = 65535
# of Pillow and its plugins on damaged files
FAILURES = (
    OSError, ValueError, SyntaxError, RuntimeError, KeyError, TypeError, EOFError,
    struct.error, Image.DecompressionBombError,
)  # fmt: skip


class ImageError(ValueError):
    """An image file that cannot be used."""


def read_image(
    source: Path | str | bytes, *, name: str = "the given bytes"
) -> Tensor:  # uint8 [3, H, W] RGB
    """Decode an image file, upright according to EXIF.

    Args:
        source: path, URL or content.
        name: of the content, for messages.
    """
    if isinstance(source, bytes):
        content = source
    else:
        content, name = read_file(source), printable(source)
    _require_moderate_size(content, name)
    return _decode(content, name)


def _require_moderate_size(content: bytes, name: str) -> None:
    """Raise ImageError for an image that would fill the memory, by the limit of Pillow."""
    try:
        with Image.open(io.BytesIO(content)):
            return
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name}: the image is too large ({error}); cut it into tiles, or make it smaller"
        ) from error
    except FAILURES:
        return  # decoding explains it


def read_file(source: Path | str) -> bytes:
    """Read the content of an image file; ImageError if it fails or there is none."""
    name = printable(remote_url(source) or source)
    if not str(source):
        raise ImageError("the path of an image is empty; give a file")
    if "\0" in str(source):
        raise ImageError(f"{str(source)!r}: no file can have this name; correct it")
    _require_regular(source)
    try:
        content = read_bytes(source)
    except OSError as error:
        reason = error.strerror or (
            "No such file" if isinstance(error, FileNotFoundError) else _in_one_line(error)
        )
        raise ImageError(
            f"{name}: the image cannot be opened ({reason}); check the path"
        ) from error
    if not content:
        raise ImageError(f"{name}: the image file is empty; replace it or leave it out")
    return content


def _require_regular(path: Path | str) -> None:
    """Raise ImageError for a folder, a pipe or a device, from which reading may never end."""
    kind = irregular_kind(path)
    if kind:
        raise ImageError(f"{printable(path)}: the image is {kind}; replace it or leave it out")


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


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
                self._require_size(*upright_size(file))
                file.draft(file.mode, (file.width // reduction, file.height // reduction))
                pixels = np.array(_upright(file).convert("RGB"))  # [H, W, 3]
        except ImageError:
            raise
        except FAILURES as error:
            raise _unreadable(self.name, error) from error
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def _require_size(self, height: int, width: int) -> None:
        if (height, width) != (self.height, self.width):
            raise ImageError(
                f"{printable(self.name)}: the image is {width} wide and {height} high, but "
                f"{self.width} and {self.height} in the annotations; correct them "
                "(EXIF orientation counts)"
            )


def _decode(content: bytes, name: str) -> Tensor:  # uint8 [3, H, W]
    try:
        image = decode_image(content)  # [3, H, W], or [frames, 3, H, W] of an animation
    except (ValueError, RuntimeError):
        return _read_with_pillow(content, name)
    return image[0].clone() if image.ndim == 4 else image


def image_size(path: Path) -> tuple[int, int]:
    """Read height and width of an image from its header, upright according to EXIF."""
    _require_regular(path)
    try:
        with Image.open(path) as file:
            return upright_size(file)
    except FAILURES as error:
        raise _unreadable(str(path), error) from error


def upright_size(file: Image.Image) -> tuple[int, int]:
    """Return height and width with the EXIF orientation applied."""
    width, height = file.size
    if isinstance(file, TiffImageFile):  # its `size` is upright or not, by version of Pillow
        width, height = file.tag_v2[IMAGEWIDTH], file.tag_v2[IMAGELENGTH]
    return (width, height) if orientation_of(file) in ROTATED else (height, width)


def orientation_of(file: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; not that of XMP, which decoding does not read.

    Damaged EXIF has none: the pixels may be in order.
    """
    try:
        if isinstance(file, TiffImageFile):
            value = file.tag_v2.get(ORIENTATION)
        else:
            exif = Image.Exif()
            exif.load(file.info.get("exif", b""))
            value = exif.get(ORIENTATION)
    except FAILURES:
        return 1
    return value if isinstance(value, int) else 1


def _upright(file: Image.Image) -> Image.Image:
    """Decode an image and apply its EXIF orientation."""
    file.load()  # this alone makes a TIFF upright
    turn = TRANSPOSITIONS.get(orientation_of(file))
    return file if turn is None else file.transpose(turn)


def _read_with_pillow(content: bytes, name: str) -> Tensor:  # uint8 [3, H, W]
    """Decode formats unknown to torchcodec, such as BMP, or explain the failure."""
    try:
        with Image.open(io.BytesIO(content)) as file:
            return _to_tensor(_upright(file))
    except FAILURES as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> ImageError:
    unknown = isinstance(error, UnidentifiedImageError)
    reason = "of no known format" if unknown else _in_one_line(error)
    return ImageError(
        f"{printable(name)}: not a readable image ({reason}); replace it or leave it out"
    )


def from_pillow(image: Image.Image) -> Tensor:  # uint8 [3, H, W] RGB
    """Convert an image of Pillow in any mode, upright according to EXIF.

    Raises:
        ImageError: its pixels have no range, or its file is damaged.
    """
    try:
        return _to_tensor(_upright(image))
    except FAILURES as error:  # it is decoded only now
        name = getattr(image, "filename", "") or "the given image"
        raise _unreadable(str(name), error) from error


def _to_tensor(image: Image.Image) -> Tensor:  # uint8 [3, H, W]
    if image.mode == "La":  # with color multiplied by alpha
        image = image.convert("LA")
    pixels = np.array(_to_eight_bits(image).convert("RGB"))  # [H, W, 3]
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit gray values, which Pillow would clip at 255."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined range: convert it to 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if image.mode == "I" and values.size:  # 32 bits, in which some formats hold 16
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > SIXTEEN_BITS or 0 < high <= 255:
            raise ValueError(
                f"32-bit pixels from {low} to {high} have no defined range: "
                "convert it to 8 or 16 bits"
            )
    return Image.fromarray(scale_sixteen_bits(values))


def scale_sixteen_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale values in 0..65535 to 0..255."""
    scaled: NDArray[np.uint8] = (values.astype(np.float64) / 257).round().astype(np.uint8)
    return scaled
