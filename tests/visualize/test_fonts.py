"""A font of the system shows characters that Pillow's font lacks."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from centernet2.visualize import draw, fonts
from centernet2.visualize.fonts import find_font
from tests.helpers.drawing import canvas, detections
from tests.helpers.fonts import write_font

NAMES = ["人", "car"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only folder with fonts."""
    monkeypatch.setattr(fonts, "_font_folders", lambda: [str(tmp_path)])
    fonts._find_font.cache_clear()
    yield tmp_path
    fonts._find_font.cache_clear()


def test_font_with_the_characters_is_found(folder: Path) -> None:
    write_font(folder / "a.ttf", {"车": "A"})
    (folder / "b.ttf").write_text("not a font")
    (folder / "below").mkdir()
    wanted = write_font(folder / "below" / "z.ttf", {c: "A" for c in "人car"})
    write_font(folder / "z-Bold.ttf", {c: "A" for c in "人car"})
    font = find_font(NAMES)
    assert font.path == wanted and font.shows("人 car")
    assert font.at(20).getlength("人") > 5


def test_latin_text_takes_the_font_of_pillow(folder: Path) -> None:
    write_font(folder / "a.ttf", {c: "A" for c in "car"})
    assert find_font(["car", "traffic light: 0.97"]).path is None


def test_font_that_lacks_the_fewest_is_chosen(folder: Path) -> None:
    write_font(folder / "a.ttf", {c: "A" for c in "car"})
    wanted = write_font(folder / "b.ttf", {c: "A" for c in "人car"})
    font = find_font([*NAMES, "犬"])
    assert font.path == wanted and font.lacking == {"犬"}
    assert font.shows("人") and not font.shows("犬: 0.5")


def test_missing_font_is_logged_once_and_the_number_drawn(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = detections([[50, 100, 150, 200]], [0.9], [0])
    with caplog.at_level(logging.WARNING):
        pictures = [draw(canvas(), found, NAMES) for _ in range(2)]
    (record,) = caplog.records
    assert "人" in record.getMessage() and "fonts-noto-cjk" in record.getMessage()
    numbered = draw(canvas(), found, ["0", "car"])
    shape = (pictures[0] == pictures[0][199, 100]).all(axis=2)
    assert (shape == (numbered == numbered[199, 100]).all(axis=2)).all()


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_folders_exist_for_every_system(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.delenv("HOME", raising=False)
    assert all("ont" in folder for folder in fonts._font_folders())
