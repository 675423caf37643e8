"""HEIC photographs, as telephones take them: Pillow reads them with a plugin."""

import io
import warnings
from importlib import import_module
from pathlib import Path

from PIL import Image, UnidentifiedImageError

STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")
BRAND_END = 12  # of the bytes of a file that name its brand
PLUGINS = ("pi_heif", "pillow_heif")  # packages; the extra [heic] installs the first, which decodes

# Large images are read, and those above Pillow's limit refused in a sentence. It is one filter for
# the process, behind those of the user: changing filters around each image is unsafe in threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning, append=True)


class HeifError(OSError):
    """A HEIC file cannot be read, as no plugin is installed."""


def is_heif(start: bytes) -> bool:
    """Whether a file that begins so is a HEIC photograph."""
    return start[4:8] == b"ftyp" and start[8:BRAND_END] in STILL_BRANDS


def open_image(source: Path | bytes) -> Image.Image:
    """Open an image file as `PIL.Image.open` does, HEIC with its plugin.

    Args:
        source: path or content.

    Raises:
        HeifError: it is HEIC, and no plugin is installed.
    """

    def opened() -> Image.Image:
        return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)

    try:
        return opened()
    except UnidentifiedImageError:
        if not is_heif(_start_of(source)):
            raise
    _register_plugin()
    return opened()


def _start_of(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:BRAND_END]
    with source.open("rb") as file:
        return file.read(BRAND_END)


def _register_plugin() -> None:
    for name in PLUGINS:
        try:
            plugin = import_module(name)
        except ImportError:
            continue
        plugin.register_heif_opener()
        return
    raise HeifError("it is HEIC, which `pip install 'centernet2[heic]'` makes readable")
