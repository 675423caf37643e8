"""Damaged image files are read or refused: no crash, no other error, no growth of memory."""

import io
import struct
import warnings
import zlib
from collections import Counter

import numpy as np
import psutil
import pytest
from PIL import Image

from centernet2.images.image_files import ImageError, read_image

SAVED = {"JPEG": {"quality": 90}, "PNG": {}, "WEBP": {"quality": 80}, "GIF": {}, "TIFF": {}}


def originals() -> list[bytes]:
    """Return small images in several formats, with an EXIF orientation where there is one."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (24, 36, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    contents = []
    for kind, options in SAVED.items():
        stream = io.BytesIO()
        more = {} if kind == "GIF" else {"exif": exif}
        Image.fromarray(pixels).save(stream, kind, **options, **more)
        contents.append(stream.getvalue())
    return contents


def mutate(content: bytes, generator: np.random.Generator) -> bytes:
    """Flip bytes, cut, repeat or insert parts, or write large numbers, as into a header."""
    changed = bytearray(content)
    for _ in range(generator.integers(1, 4)):
        at, length = (int(each) for each in generator.integers(0, len(changed), 2))
        if generator.random() < 0.5:
            at = min(at, 64)  # headers
        match generator.integers(0, 6):
            case 0 | 1:
                for index in generator.integers(0, len(changed), generator.integers(1, 9)):
                    changed[index] = int(generator.integers(0, 256))
            case 2:
                del changed[max(1, length) :]
            case 3:
                changed[at:at] = changed[at : at + length]
            case 4:
                changed[at : at + 4] = struct.pack(">I", int(generator.integers(0, 2**32)))
            case 5:
                changed[at : at + 2] = b"\xff\xff"
    return bytes(changed)


def read_mutated(count: int) -> Counter[str]:
    """Read so many mutated images; return how many were read and refused."""
    generator, contents = np.random.default_rng(1), originals()
    outcomes: Counter[str] = Counter()
    for index in range(count):
        content = mutate(contents[index % len(contents)], generator)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of Pillow, about damaged files
                image = read_image(content, name=f"mutation {index}")
        except ImageError as error:
            assert str(error).startswith(f"mutation {index}: ") and "\n" not in str(error)
            outcomes["refused"] += 1
        else:
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
            outcomes["read"] += 1
    return outcomes


def test_mutated_images_are_read_or_refused() -> None:
    outcomes = read_mutated(400)
    assert min(outcomes["read"], outcomes["refused"]) > 60


@pytest.mark.long
def test_ten_thousand_mutations_leave_the_memory_flat() -> None:
    """Twice the same: the first time, the largest images set how much the process keeps."""
    assert sum(read_mutated(10_000).values()) == 10_000
    before = psutil.Process().memory_info().rss
    read_mutated(10_000)
    assert (psutil.Process().memory_info().rss - before) / 2**20 < 32


@pytest.mark.parametrize("side", [20_000, 70_000, 2**31 - 1])
def test_lying_header_is_refused(side: int) -> None:
    """A PNG of 100 bytes that claims to be huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0"))
    with pytest.raises(ImageError, match=r"the image is too large|not a readable image"):
        read_image(content + chunk(b"IEND", b""))
