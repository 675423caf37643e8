"""Contact sheets of data sets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import centernet2
from centernet2.jobs.show import show
from tests.data.conftest import content, write  # noqa: F401

CONFIG = centernet2.load_config("CenterNet2_R18_small")


def test_a_sheet_with_all_there_is(
    content: Any,
    write: Callable[..., Path],
    tmp_path: Path,
) -> None:
    write(content)
    show(tmp_path, output=tmp_path / "plain.png", config=CONFIG, count=2)
    show(
        tmp_path, output=tmp_path / "all.png", config=CONFIG, count=2, augmented=True, targets=True
    )
    with Image.open(tmp_path / "plain.png") as plain, Image.open(tmp_path / "all.png") as every:
        assert plain.width == every.width * 2 // 3 or plain.width < every.width
        assert every.height > plain.height
        colors = every.convert("RGB").getcolors(2**24) or []
        assert any(r > 200 and g < 80 and b < 60 for _, (r, g, b) in colors), (
            "the peak of an object is hot"
        )


def test_mistakes_are_said(content: Any, write: Callable[..., Path], tmp_path: Path) -> None:
    write(content)
    with pytest.raises(ValueError, match="has no val split, only train"):
        show(tmp_path, output=tmp_path / "a.png", config=CONFIG, split="val")
    with pytest.raises(ValueError, match=r"ends in \.jpg"):
        show(tmp_path, output=tmp_path / "a.txt", config=CONFIG)
