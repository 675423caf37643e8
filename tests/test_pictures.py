"""Files of pictures and their mark."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from centernet2.pictures import FILE_FORMATS, is_own_picture, save_picture


@pytest.mark.parametrize("suffix", FILE_FORMATS)
def test_own_pictures_are_recognized(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    own, other = tmp_path / "new" / f"own{suffix}", tmp_path / f"other{suffix}"
    save_picture(Image.fromarray(pixels), own)
    Image.fromarray(pixels).save(other)
    assert is_own_picture(own) and not is_own_picture(other)
    with Image.open(own) as picture:
        assert picture.format == FILE_FORMATS[suffix] and picture.size == (120, 90)


def test_files_that_hold_no_picture(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    assert not is_own_picture(tmp_path / "empty.png")
    assert not is_own_picture(tmp_path / "missing.png")
