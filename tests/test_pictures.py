"""Files of pictures and their mark."""

from pathlib import Path
from zlib import Z_RLE

import numpy as np
import pytest
from PIL import Image

from centernet2.outputs import is_own_picture
from centernet2.pictures import FILE_FORMATS, save_picture


@pytest.mark.parametrize("suffix", FILE_FORMATS)
def test_own_pictures_are_recognized(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    own, other = tmp_path / "new" / f"own{suffix}", tmp_path / f"other{suffix}"
    save_picture(Image.fromarray(pixels), own)
    Image.fromarray(pixels).save(other)
    assert is_own_picture(own) and not is_own_picture(other)
    with Image.open(own) as picture:
        assert picture.format == FILE_FORMATS[suffix] and picture.size == (120, 90)


def test_png_is_compressed_by_run_lengths(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels.repeat(8, axis=0).repeat(8, axis=1))
    save_picture(picture, tmp_path / "own.png")
    picture.save(tmp_path / "run_lengths.png", compress_type=Z_RLE)
    own, expected = ((tmp_path / name).read_bytes() for name in ("own.png", "run_lengths.png"))
    assert own[own.index(b"IDAT") :] == expected[expected.index(b"IDAT") :]
    with Image.open(tmp_path / "own.png") as stored:
        assert np.array_equal(np.asarray(stored), np.asarray(picture))


def test_files_that_hold_no_picture(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    assert not is_own_picture(tmp_path / "empty.png")
    assert not is_own_picture(tmp_path / "missing.png")
