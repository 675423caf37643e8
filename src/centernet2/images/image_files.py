"""Decode image files of any format to arrays.

torchcodec decodes where PyTorch is in use, and Pillow elsewhere and what torchcodec does not know.
Their pixels are equal, except that of PNG files of 16 bits per color, which differ by at most 1,
and of the transparent pixels of GIF files.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, IMAGELENGTH, IMAGEWIDTH, TiffImageFile

from centernet2.files import irregular_kind, printable
from centernet2.images.heif import open_image
from centernet2.images.storage import read_bytes, shown_name
from centernet2.structures import Pixels

ORIENTATION = 0x0112  # EXIF tag
SUBFILE_TYPE, PREVIEW = 0x00FE, 1  # TIFF tag, and its value for a smaller copy of another image
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
SIXTEEN_BITS = 65535
LARGEST_VALUE_TAGS = (281, 341)  # of TIFF: MaxSampleValue, SMaxSampleValue
WHITE_LEVELS = tuple(2**bits - 1 for bits in (10, 12, 14))  # of cameras, in pixels of 16 bits
DARK = 63  # of 255: what the highest of WHITE_LEVELS becomes in a file that does not state it
PNG_START, PNG_DEPTH = b"\x89PNG\r\n\x1a\n", 24  # the place of the bits per sample
TILED_PIXELS = 1_000_000_000  # of an image that is detected in tiles, at most
LIMIT_LOCK = Lock()  # held while Pillow's limit is lifted
FAILURES = Exception  # Pillow and its plugins raise errors of many kinds on damaged files
FIXED_RANGE = ("PNG", "PPM")  # formats whose pixels of mode I have 16 bits
ARCHIVE = "it is an archive; unpack it, and name the folder"
WEB_PAGE = "it is a web page; give the address of the image itself"
OTHER_KINDS = {  # by the first bytes of a file in lower case, and their place
    (0, b"pk\3\4"): ARCHIVE,
    (0, b"\x1f\x8b"): ARCHIVE,
    (0, b"7z\xbc\xaf"): ARCHIVE,
    (0, b"rar!"): ARCHIVE,
    (257, b"ustar"): ARCHIVE,
    (0, b"%pdf"): "it is a PDF file; convert its pages to images",
    (0, b"\x93numpy"): "it is an array of NumPy; load it, and give the array to a predictor",
    (0, b"<!doctype html"): WEB_PAGE,
    (0, b"<html"): WEB_PAGE,
    (0, b"version https"): "it is a pointer of Git LFS; download it by `git lfs pull`",
}
OTHER_KIND_BYTES = 300  # from the start of a file, by which its kind is known


class ImageError(ValueError):
    """An image file that cannot be used."""


def read_image(
    source: Path | str | bytes,
    *,
    name: str = "the given bytes",
    max_pixels: int | None = None,
    notice: Callable[[str], None] | None = None,
) -> Pixels:
    """Decode an image file, upright according to EXIF.

    Args:
        source: path, URL or content.
        name: of the content, for messages.
        max_pixels: that it may have; None: as many as Pillow reads, twice `MAX_IMAGE_PIXELS`.
        notice: called with a sentence if the pixels are likely to be of another range.
    """
    if isinstance(source, bytes):
        content = source
    else:
        content, name = read_file(source), shown_name(source)
    pixels = _decode_moderate(content, name, max_pixels)
    if notice is not None and pixels.max() <= DARK and _has_unknown_white(content):
        notice(
            f"{name}: the image is nearly black: its pixels have 16 bits, where white is "
            f"{SIXTEEN_BITS}, and reach about {257 * int(pixels.max())}; if they are of 10, 12 or "
            "14 bits, store them as 8 bits or scaled to 16 bits, or gray ones as TIFF with the tag "
            "MaxSampleValue, such as 4095"
        )
    return pixels


def _decode_moderate(content: bytes, name: str, max_pixels: int | None) -> Pixels:
    """Decode an image; ImageError above the limit of pixels."""
    try:
        with open_image(content):
            pass
    except Image.DecompressionBombError as error:  # it would fill the memory
        if max_pixels is None:
            raise ImageError(
                f"{name}: the image is too large ({error}); cut it into tiles, or make it smaller; "
                f"`predict --tile` reads up to {TILED_PIXELS // 1_000_000} megapixels"
            ) from error
        return _read_large(content, name, max_pixels)
    except FAILURES:
        pass  # decoding explains it
    return decode(content, name)


def _read_large(content: bytes, name: str, max_pixels: int) -> Pixels:
    """Decode an image above Pillow's limit; ImageError above the given one."""
    with _without_limit():
        try:
            with open_image(content) as file:
                count = file.width * file.height
        except FAILURES as error:
            raise unreadable(name, error, content) from error
        if count > max_pixels:
            raise ImageError(
                f"{name}: the image is too large ({count / 1e6:,.0f} megapixels, of at most "
                f"{max_pixels / 1e6:,.0f}); cut it into tiles, or make it smaller"
            )
        return decode(content, name)


@contextmanager
def _without_limit() -> Iterator[None]:
    """Lift Pillow's limit, which is one for all threads, for a block."""
    with LIMIT_LOCK:
        # not None: Pillow doubles it in other threads, after it has seen that it is a number
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, sys.maxsize
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def read_file(source: Path | str) -> bytes:
    """Read the content of an image file; ImageError if it fails or there is none."""
    name = shown_name(source)
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
    """Raise ImageError for a folder, pipe or device; reading these may never end."""
    kind = irregular_kind(path)
    if kind:
        raise ImageError(f"{printable(path)}: the image is {kind}; replace it or leave it out")


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def decode(content: bytes, name: str) -> Pixels:
    """Decode the content of an image file; the name is for messages."""
    if "torch" not in sys.modules:
        return _read_with_pillow(content, name)
    from torchcodec.decoders import decode_image  # type: ignore[attr-defined]

    try:
        image = decode_image(content)  # [3, H, W], or [frames, 3, H, W] of an animation
    except (ImportError, ValueError, RuntimeError):  # the first: HEIC without its library
        return _read_with_pillow(content, name)
    image = image[0].clone() if image.ndim == 4 else image
    pixels: Pixels = image.permute(1, 2, 0).numpy()
    return pixels


def image_size(path: Path) -> tuple[int, int]:
    """Read height and width of an image from its header, upright according to EXIF."""
    _require_regular(path)
    try:
        with open_image(path) as file:
            return upright_size(file)
    except UnidentifiedImageError as error:
        with path.open("rb") as content:
            raise unreadable(str(path), error, content.read(OTHER_KIND_BYTES)) from error
    except FAILURES as error:
        raise unreadable(str(path), error) from error


def upright_size(file: Image.Image) -> tuple[int, int]:
    """Return height and width with the EXIF orientation applied."""
    width, height = file.size
    if isinstance(file, TiffImageFile):  # its `size` is upright or not, by version of Pillow
        width, height = file.tag_v2[IMAGEWIDTH], file.tag_v2[IMAGELENGTH]
    return (width, height) if orientation_of(file) in ROTATED else (height, width)


def orientation_of(file: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; not that of XMP, which decoding ignores.

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


def upright(file: Image.Image) -> Image.Image:
    """Decode an image and apply its EXIF orientation."""
    if (
        isinstance(file, TiffImageFile)
        and file.tell() == 0  # later pages may be the smaller copies of a pyramid
        and file.tag_v2.get(SUBFILE_TYPE) == PREVIEW
    ):
        raise ValueError("it is the preview in a raw file of a camera: convert that to JPEG")
    file.load()  # this alone makes a TIFF upright
    turn = TRANSPOSITIONS.get(orientation_of(file))
    return file if turn is None else file.transpose(turn)


def _read_with_pillow(content: bytes, name: str) -> Pixels:
    """Decode a format that Pillow knows, or explain the failure."""
    try:
        with open_image(content) as file:
            return _to_pixels(upright(file))
    except FAILURES as error:
        raise unreadable(name, error, content) from error


def other_kind(content: bytes) -> str:
    """Say what the content of a file is if no image, and what to do; "": unknown."""
    start = content[:OTHER_KIND_BYTES].lstrip().lower()
    kinds = (kind for (place, mark), kind in OTHER_KINDS.items() if start[place:].startswith(mark))
    return next(kinds, "")


def unreadable(name: str, error: Exception, content: bytes = b"") -> ImageError:
    """Return the error of a file that cannot be decoded; its content names its kind.

    A lack of memory says nothing about the file, and is raised again with its name.
    """
    if isinstance(error, MemoryError):
        raise MemoryError(f"{printable(name)}: the image does not fit") from error
    unknown = isinstance(error, UnidentifiedImageError)
    if unknown and (kind := other_kind(content)):
        return ImageError(f"{printable(name)}: not a readable image: {kind}")
    reason = "of no known format" if unknown else _in_one_line(error)
    return ImageError(
        f"{printable(name)}: not a readable image ({reason}); replace it or leave it out"
    )


def from_pillow(image: Image.Image) -> Pixels:
    """Convert an image of Pillow in any mode, upright according to EXIF.

    Raises:
        ImageError: its pixels have no range, or its file is damaged.
    """
    try:
        return _to_pixels(upright(image))
    except FAILURES as error:  # it is decoded only now
        name = str(getattr(image, "filename", "") or "the given image")
        if _is_closed(image):
            raise ImageError(
                f"{printable(name)}: the image was closed before its pixels were read; give it "
                "while it is open"
            ) from error
        raise unreadable(name, error) from error


def _is_closed(image: Image.Image) -> bool:
    """Whether the file of an image was closed before its pixels were read."""
    file = getattr(image, "fp", None)
    return bool(getattr(image, "tile", ())) and (file is None or getattr(file, "closed", False))


def _to_pixels(image: Image.Image) -> Pixels:
    if image.mode == "La":  # with color multiplied by alpha
        image = image.convert("LA")
    image = _to_eight_bits(image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))  # which would copy it


def _has_unknown_white(content: bytes) -> bool:
    """Whether a file has pixels of 16 bits, and does not state a lower white."""
    if content.startswith(PNG_START):
        return content[PNG_DEPTH : PNG_DEPTH + 1] == b"\x10"
    try:
        with open_image(content) as file:
            if not isinstance(file, TiffImageFile) or max(file.tag_v2[BITSPERSAMPLE]) < 16:
                return False
            return not file.mode.startswith("I") or _white_of(file) == SIXTEEN_BITS
    except FAILURES:  # it is too large, or another decoder has read it
        return False


def _white_of(image: Image.Image) -> int:
    """Return the value of white in gray pixels: 65535, or what a TIFF file states.

    A tag with another number than a range of cameras may be the largest value of this image, which
    says nothing about others. The chunk sBIT of PNG does not count: its pixels are scaled already.
    """
    if not isinstance(image, TiffImageFile):
        return SIXTEEN_BITS
    bits = max(image.tag_v2.get(BITSPERSAMPLE, (16,)))
    stated = [image.tag_v2.get(tag) for tag in LARGEST_VALUE_TAGS]
    values = {each[0] if isinstance(each, tuple) else each for each in stated if each}
    levels = [2**bits - 1] if bits < 16 else [each for each in WHITE_LEVELS if each in values]
    return min(levels, default=SIXTEEN_BITS)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit gray values, which Pillow would clip at 255."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined range: convert it to 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if image.mode == "I" and image.format not in FIXED_RANGE and values.size:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > SIXTEEN_BITS or 0 < high <= 255:
            raise ValueError(
                f"32-bit pixels from {low} to {high} have no defined range: "
                "convert it to 8 or 16 bits"
            )
    white = _white_of(image)
    if values.size and values.max() > white:  # the file contradicts itself
        white = SIXTEEN_BITS
    return Image.fromarray(scale_sixteen_bits(values, white))


def scale_sixteen_bits(values: NDArray[Any], white: int = SIXTEEN_BITS) -> NDArray[np.uint8]:
    """Scale values in 0..white to 0..255."""
    factor = white / 255
    scaled: NDArray[np.uint8] = (values.astype(np.float64) / factor).round().astype(np.uint8)
    return scaled
