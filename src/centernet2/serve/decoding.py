"""Decode the images of clients, whose content may be hostile."""

from http import HTTPStatus

from PIL import Image, UnidentifiedImageError

from centernet2.images.heif import HeifError, open_image
from centernet2.images.image_files import ImageError, decode
from centernet2.serve.refusals import Refused, unprocessable
from centernet2.structures import Pixels


def count_pixels(content: bytes, max_pixels: int) -> int:
    """Return the number of pixels of an image file, all its frames together.

    They are read from its header, so that a small file cannot fill the memory.

    Raises:
        Refused: it is no image, too large, or damaged.
    """
    if not content:
        raise unprocessable("an image is empty; send the content of its file")
    try:
        with open_image(content) as file:
            if file.format == "EPS":  # a program, which Pillow would give to Ghostscript
                raise UnidentifiedImageError
            count: int = file.width * file.height * max(1, getattr(file, "n_frames", 1))
    except HeifError as error:
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the image cannot be read ({error}, where the service runs); send JPEG or PNG",
        ) from None
    except UnidentifiedImageError:
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "the content is no image of a known format; send JPEG, PNG, WebP, BMP, TIFF or GIF",
        ) from None
    except Image.DecompressionBombError:
        raise _too_many_pixels(max_pixels) from None
    except Exception as error:  # Pillow's plugins raise many kinds on damaged headers
        reason = " ".join(str(error).split()) or type(error).__name__
        raise unprocessable(f"the image is damaged ({reason}); send it whole") from error
    if count > max_pixels:
        raise _too_many_pixels(max_pixels)
    return count


def decode_upload(content: bytes) -> Pixels:
    """Decode an image file, upright according to EXIF, after `count_pixels`.

    Raises:
        Refused: it is damaged.
    """
    try:
        return decode(content, "the image")
    except ImageError as error:
        raise unprocessable(str(error)) from error


def _too_many_pixels(max_pixels: int) -> Refused:
    return Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the image has more than {max_pixels / 1e6:g} megapixels; make it smaller",
    )
