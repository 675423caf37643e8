"""Fonts: Pillow's own, or one of the system for characters that it lacks."""

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import ImageFont

FONT_SUFFIXES = (".ttf", ".ttc", ".otf", ".otc")
STYLED = ("bold", "italic", "oblique", "light", "thin", "black", "mono", "condensed")
NO_CHARACTER = "\uffff"  # of Unicode: fonts show it as they show all that they lack
SHOWN_CHARACTERS = 5
logger = logging.getLogger(__name__)


class Font(NamedTuple):
    """A font file, and which of the wanted characters it lacks."""

    path: Path | None  # None: the font that Pillow contains
    lacking: frozenset[str]

    def at(self, size: float) -> ImageFont.FreeTypeFont:
        """Load the font at a size in pixels."""
        return _load(self.path, size)

    def shows(self, text: str) -> bool:
        """Whether the font has all characters of a text."""
        return self.lacking.isdisjoint(text)


def find_font(texts: Iterable[str]) -> Font:
    """Find a font with the characters of texts; if none, log which one to install."""
    return _find_font(frozenset("".join(texts)))


@lru_cache(maxsize=64)
def _find_font(characters: frozenset[str]) -> Font:
    best = Font(None, _lacking(_load(None, 10), characters))
    for path in _font_files() if best.lacking else ():
        try:
            lacking = _lacking(_load(path, 10), characters)
        except OSError:  # not a font that FreeType reads
            continue
        if len(lacking) < len(best.lacking):
            best = Font(path, lacking)
        if not best.lacking:
            break
    if best.lacking:
        shown = "".join(sorted(best.lacking)[:SHOWN_CHARACTERS])
        logger.warning(
            "no font of this system has the characters %s; in pictures, classes named with them "
            "have their number instead. Install a font (Debian, Ubuntu: apt install fonts-noto-cjk)"
            " or put a font file into %s", shown, _font_folders()[0],
        )  # fmt: skip
    return best


def _lacking(font: ImageFont.FreeTypeFont, characters: Iterable[str]) -> frozenset[str]:
    """Return the characters that a font shows as a character that does not exist."""
    nothing = _bitmap(font, NO_CHARACTER)
    return frozenset(c for c in characters if c.isprintable() and _bitmap(font, c) == nothing)


def _bitmap(font: ImageFont.FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)


def _load(path: Path | None, size: float) -> ImageFont.FreeTypeFont:
    if path is not None:
        return ImageFont.truetype(str(path), size)
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise ValueError(
            "labels need Pillow with FreeType; install its wheel: pip install -U pillow"
        )
    return font


def _font_files() -> Iterator[Path]:
    """Yield the font files of the system: regular before bold, sans before serif."""
    files: list[Path] = []
    for folder in _font_folders():
        found = (Path(base, name) for base, _, names in os.walk(folder) for name in names)
        files += [path for path in found if path.suffix.lower() in FONT_SUFFIXES]
    yield from sorted(files, key=_preference)


def _preference(path: Path) -> tuple[bool, bool, str]:
    name = path.stem.lower()
    return any(style in name for style in STYLED), "serif" in name, str(path)


def _font_folders() -> list[str]:
    """Return the folders with fonts of users first, then those of the system."""
    if sys.platform == "win32":
        return [
            os.path.expandvars(r"%LOCALAPPDATA%\Microsoft\Windows\Fonts"),
            os.path.expandvars(r"%WINDIR%\Fonts"),
        ]
    if sys.platform == "darwin":
        return [os.path.expanduser("~/Library/Fonts"), "/Library/Fonts", "/System/Library/Fonts"]
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return [
        os.path.join(data, "fonts"),
        os.path.expanduser("~/.fonts"),
        "/usr/local/share/fonts",
        "/usr/share/fonts",
    ]
