"""Images as users hold them: paths, content, open files, Pillow, numpy, tensors."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, Union, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from centernet2.images.image_files import from_pillow, read_image, scale_sixteen_bits
from centernet2.predict.films import VIDEO_SUFFIXES
from centernet2.structures import Pixels

if TYPE_CHECKING:
    from torch import Tensor

PIXEL_TYPES = ("uint8", "uint16", "u2")  # u2: uint16 of the other byte order
CONTENTS = (bytes, bytearray, memoryview)
NUMBERS = ("int", "uint", "float", "bfloat")  # beginnings of dtypes whose values have an order
NAME_KINDS = "OUST"  # of arrays that hold paths, by the kind of their dtype
LONGEST_PATH = 4096  # characters, of Linux
CONTRAST = 128  # between the darkest and the brightest percent of a picture of 8 bits
ADVICE = "give a path, bytes, an open file, PIL, numpy or torch"

ColorOrder: TypeAlias = Literal["rgb", "bgr"]
COLORS = get_args(ColorOrder)

# files that are open for reading, and objects with `read_bytes` or `__array__`, are of any type
ImageSource: TypeAlias = Union[
    str, os.PathLike[Any], bytes, bytearray, memoryview, Image.Image, NDArray[Any], "Tensor"
]
ImageSources: TypeAlias = list[Any] | tuple[Any, ...] | Iterator[Any]


class NamedImage(NamedTuple):
    """An image, and where it comes from."""

    image: Pixels
    path: Path | None = None  # file or address
    frame: int | None = None  # number in its film, from 0
    time: float | None = None  # seconds from the start of its film


def named_image(
    source: Any, *, color: ColorOrder = "rgb", max_pixels: int | None = None
) -> NamedImage:
    """Convert an image as `as_image` does; it keeps its path."""
    is_path = isinstance(source, str | os.PathLike)
    path = Path(os.fsdecode(source)) if is_path else None
    return NamedImage(as_image(source, color=color, max_pixels=max_pixels), path)


def as_image(source: Any, *, color: ColorOrder = "rgb", max_pixels: int | None = None) -> Pixels:
    """Convert an image to an array [H, W, 3], RGB.

    Arrays are [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] in the order R, G, B, alpha, tensors
    [1, H, W] or [3, H, W], of 8 or, in 0..65535, 16 bits; True is white. Pixels of other types have
    no defined range and are refused. Files and images of Pillow are rotated by their EXIF
    orientation, so that both give the same boxes.

    Args:
        color: order of the channels of arrays and tensors, "rgb" or "bgr".
        max_pixels: that a file may have; None: Pillow's limit.
    """
    if color not in COLORS:
        raise ValueError(f"color is {color!r}; give 'rgb', or 'bgr' for pixels as of OpenCV")
    if isinstance(source, str | os.PathLike):
        return read_image(_path_of(source), max_pixels=max_pixels)
    if isinstance(source, CONTENTS):
        return read_image(bytes(source), max_pixels=max_pixels)
    if isinstance(source, Image.Image):
        pixels = from_pillow(source)
        _require_pixels(pixels, True, "[H, W, 3]")
        return pixels
    if _is_tensor(source):
        return _in_color(_from_tensor(source), color)
    if hasattr(source, "read_bytes"):  # such as zipfile.Path
        return _read_content(source.read_bytes(), str(source), max_pixels)
    if hasattr(source, "read"):
        return _read_content(_rest_of(source), _name_of(source), max_pixels)
    if hasattr(source, "__array__"):
        return _in_color(_from_array(_as_array(source)), color)
    raise ValueError(f"an image of type {type(source).__name__} is not supported; {ADVICE}")


def several_images(source: Any) -> Iterable[Any] | None:
    """Return the images of a list, generator, set or column of paths; None: one image."""
    if isinstance(source, (str, os.PathLike, *CONTENTS, Image.Image)) or _is_tensor(source):
        return None
    if hasattr(source, "read") or hasattr(source, "read_bytes"):
        return None
    if hasattr(source, "__array__"):
        values = _as_array(source)
        holds_paths = values.ndim == 1 and values.dtype.kind in NAME_KINDS
        return values.tolist() if holds_paths else None
    if isinstance(source, dict):
        raise ValueError(
            "the images are in a dictionary; give them as a list: list(images.values())"
        )
    return source if isinstance(source, Iterable) else None


def numbered_images(
    sources: Iterable[Any], *, color: ColorOrder = "rgb", max_pixels: int | None = None
) -> Iterator[NamedImage]:
    """Convert images; errors say which one of the list it is."""
    for index, source in enumerate(sources):
        try:
            if isinstance(source, list | tuple):
                raise ValueError(
                    f"it is a {type(source).__name__}; give one flat list of images, and the "
                    "pixels of an image as an array: np.array(pixels, dtype=np.uint8)"
                )
            yield named_image(source, color=color, max_pixels=max_pixels)
        except ValueError as error:
            raise ValueError(f"image {index} of the list: {error}") from error


def _path_of(source: str | os.PathLike[Any]) -> str | Path:
    name = os.fsdecode(source)
    if name.startswith("data:") or len(name) > LONGEST_PATH:
        raise ValueError(
            f"the text {name[:20]}... is no path; give the content of an image as bytes, such as "
            "base64.b64decode(text)"
        )
    if name == "." and isinstance(source, Path):
        raise ValueError("the path of an image is empty, or the current folder; give a file")
    if os.path.isdir(name):
        raise ValueError(f"{name} is a folder, not an image; give the paths of its images")
    if name.lower().endswith(VIDEO_SUFFIXES):
        raise ValueError(f"{name} is a film; predictor.stream('{name}') yields its frames")
    return Path(name) if name and isinstance(source, os.PathLike) else name


def _read_content(content: bytes, name: str, max_pixels: int | None) -> Pixels:
    if not content:
        raise ValueError(f"{name}: the image file is empty; replace it or leave it out")
    return read_image(content, name=name, max_pixels=max_pixels)


def _rest_of(file: Any) -> bytes:
    """Read a file from its position."""
    name = _name_of(file)
    if getattr(file, "closed", False):
        raise ValueError(f"{name}: the file is closed; open it again")
    try:
        content = file.read()
    except UnicodeDecodeError:
        content = ""
    if isinstance(content, str):
        raise ValueError(f"{name}: the file is open as text; open it as binary, with mode 'rb'")
    if not isinstance(content, CONTENTS):  # such as of a capture of OpenCV
        raise ValueError(
            f"{name}: its read() returns a {type(content).__name__}, not bytes; give an image or "
            "frame that it holds, and a film or camera by its path, address or number to `stream`"
        )
    if not content and file.seekable() and file.tell() > 0:
        raise ValueError(f"{name}: the file was read to its end before; call its seek(0) first")
    return bytes(content)


def _name_of(file: Any) -> str:
    name = getattr(file, "name", None)
    return name if isinstance(name, str) else f"the given {type(file).__name__}"


def _is_tensor(source: Any) -> bool:
    """Whether it is a tensor of PyTorch, which this does not import."""
    return isinstance(source, getattr(sys.modules.get("torch"), "Tensor", ()))


def _as_array(source: Any) -> NDArray[Any]:
    try:
        return np.asarray(source)
    except Exception as error:  # of its library, such as where it is in the memory of a GPU
        kind = type(source).__name__
        reason = " ".join(str(error).split())
        raise ValueError(f"an image of type {kind} cannot be read ({reason}); {ADVICE}") from error


def _from_tensor(source: Any) -> Pixels:
    if str(source.layout) != "torch.strided" or source.is_meta:
        raise ValueError("an image is a dense tensor with values; convert it, as by to_dense()")
    pixels = source.detach().cpu()
    if str(pixels.dtype) == "torch.bool":
        pixels = pixels.byte() * 255
    _require_pixels(pixels, pixels.ndim == 3 and pixels.shape[0] in (1, 3), "[3, H, W]")
    return _from_array(pixels.permute(1, 2, 0).numpy())


def _from_array(array: NDArray[Any]) -> Pixels:
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    pixels = array[..., None] if array.ndim == 2 else array
    fits = pixels.ndim == 3 and pixels.shape[-1] in (1, 3, 4)
    _require_pixels(array, fits, "[H, W], [H, W, 3] or [H, W, 4]")
    pixels = pixels[..., :3]
    if pixels.dtype.itemsize == 2:  # of any byte order
        if _holds_bytes(pixels):
            raise ValueError(
                f"uint16 pixels up to {pixels.max()} are nearly black, as white is 65535; convert "
                "them with .astype(np.uint8) if white is 255"
            )
        pixels = scale_sixteen_bits(pixels)
    # a copy: the array may be read-only, or reversed, which PyTorch does not take
    return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), order="C")


def _holds_bytes(pixels: NDArray[Any]) -> bool:
    """Whether pixels of 16 bits are a picture of 8 bits.

    A dark frame of a camera, which is noise about its black level, has no such contrast.
    """
    if pixels.max() > 255:
        return False
    darkest, brightest = np.percentile(pixels, (1, 99))
    return bool(brightest - darkest >= CONTRAST)


def _in_color(pixels: Pixels, color: ColorOrder) -> Pixels:
    """Bring the channels, which are in the order of `color`, to RGB."""
    return pixels[..., ::-1].copy() if color == "bgr" else pixels


def _require_pixels(source: NDArray[Any] | Tensor, fits: bool, wanted: str) -> None:
    kind, shape = _kind_of(source), list(source.shape)
    if not fits or kind not in PIXEL_TYPES or 0 in shape:
        raise ValueError(
            f"an image is uint8 or uint16 {wanted}, not {kind} {shape}; {_conversion(source)}"
        )


def _kind_of(source: NDArray[Any] | Tensor) -> str:
    return str(source.dtype).removeprefix("torch.").lstrip("<>")


def _conversion(source: NDArray[Any] | Tensor) -> str:
    """Say how to convert an array or tensor to an image."""
    shape, is_tensor = tuple(source.shape), _is_tensor(source)
    if len(shape) == 4:
        return "give the images of a batch as a list: list(batch)"
    if len(shape) == 3 and shape[0] in (1, 3) and not is_tensor:
        return "convert it with transpose(1, 2, 0)"
    if len(shape) == 3 and shape[2] in (1, 3) and shape[0] not in (1, 3) and is_tensor:
        return "convert it with permute(2, 0, 1)"
    kind = _kind_of(source)
    if kind in PIXEL_TYPES or not kind.startswith(NUMBERS) or 0 in shape:
        return "convert it"
    to_bytes = ".to(torch.uint8)" if is_tensor else ".astype(np.uint8)"
    values: Any = source
    values = values.double() if is_tensor else values  # some types of PyTorch have no order
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        return f"its values are in 0..1: convert it with (image * 255).round(){to_bytes}"
    if low >= 0 and high <= 255:
        return f"its values are in 0..255: convert it with image.round(){to_bytes}"
    return f"its values, from {low:.3g} to {high:.3g}, have no defined range: scale them to 0..255"
