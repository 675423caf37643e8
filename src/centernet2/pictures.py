"""Pictures that this package writes.

They carry a mark in the metadata of the file. A folder of photographs may hold the pictures of an
earlier run: the mark tells them apart.
"""

from pathlib import Path
from zlib import Z_RLE

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from centernet2.files import open_atomic
from centernet2.outputs import PICTURE_MARK

FILE_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}  # by suffix
SOFTWARE = 0x0131  # EXIF tag


def save_picture(picture: Image.Image, path: Path, *, quality: int = 90) -> None:
    """Write a picture with the mark, as a file that appears whole or not at all.

    The suffix, one of FILE_FORMATS, determines the format; `quality` is of JPEG and WebP.
    """
    kind = FILE_FORMATS[path.suffix.lower()]
    with open_atomic(path) as file:
        if kind == "PNG":
            text = PngInfo()
            text.add_text("Software", PICTURE_MARK)
            # within a tenth of the size that zlib's default gives, in a third of the time or less
            picture.save(file, kind, pnginfo=text, compress_type=Z_RLE)
        elif kind == "JPEG":
            picture.save(file, kind, quality=quality, comment=PICTURE_MARK.encode())
        else:
            exif = Image.Exif()
            exif[SOFTWARE] = PICTURE_MARK
            picture.save(file, kind, quality=quality, exif=exif)
