"""Image files that are decoded as tensors, large ones at the size that is needed."""

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from centernet2.files import printable
from centernet2.images.image_files import (
    FAILURES,
    ImageError,
    decode,
    unreadable,
    upright,
    upright_size,
)
from centernet2.structures import Pixels

MIN_REDUCED_PIXELS = 1_000_000  # smaller images are decoded faster at full size
REDUCTIONS = (4, 2)  # factors at which libjpeg decodes with a fraction of the work
REDUCTION_MARGIN = 2.5  # the reduced sides are at least this many times the final ones


def to_tensor(pixels: Pixels) -> Tensor:  # uint8 [3, H, W]
    """Return an image as a tensor that shares its memory."""
    return torch.from_numpy(pixels).permute(2, 0, 1)


def to_pixels(image: Tensor) -> Pixels:
    """Return an image uint8 [3, H, W] as an array; on the CPU they share memory."""
    pixels: Pixels = image.cpu().permute(1, 2, 0).numpy()
    return pixels


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
        pixels = decode(self.content, self.name)
        self._require_size(*pixels.shape[:2])
        return to_tensor(pixels)

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
                pixels = np.array(upright(file).convert("RGB"))  # [H, W, 3]
        except ImageError:
            raise
        except FAILURES as error:
            raise unreadable(self.name, error) from error
        return to_tensor(pixels)

    def _require_size(self, height: int, width: int) -> None:
        if (height, width) != (self.height, self.width):
            raise ImageError(
                f"{printable(self.name)}: the image is {width} wide and {height} high, but "
                f"{self.width} and {self.height} in the annotations; correct them "
                "(EXIF orientation counts)"
            )
