"""Colors of classes, the same wherever a class name occurs."""

import colorsys
import zlib
from collections.abc import Sequence
from functools import lru_cache

Color = tuple[int, int, int]

GOLDEN_RATIO = 0.618034  # step of the hue, which spreads any number of hues evenly
TONES = ((0.75, 0.95), (0.9, 0.75), (0.5, 1.0))  # saturation and value, each of eight hues
SLOTS = 24  # colors that are easy to tell apart
DARK, LIGHT = (0, 0, 0), (255, 255, 255)


def numbered_color(number: int) -> Color:
    """Return the color of a number; neighboring numbers have distinct colors."""
    hue = (0.58 + number * GOLDEN_RATIO) % 1
    saturation, value = TONES[number // 8 % len(TONES)]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def class_colors(class_names: Sequence[str]) -> dict[str, Color]:
    """Return the color of each class, by its name.

    A class has the color that its name determines, whatever its label is. If another class of the
    list has that color already, it gets the next free one; the order of the list has no influence.
    """
    return _class_colors(frozenset(class_names))


@lru_cache(maxsize=64)
def _class_colors(names: frozenset[str]) -> dict[str, Color]:
    colors: dict[str, Color] = {}
    taken: set[int] = set()
    for count, name in enumerate(sorted(names)):
        turn = count // SLOTS  # of the 24 colors; later turns have slightly other hues
        wanted = zlib.crc32(name.encode("utf-8", "surrogatepass")) % SLOTS
        slots = (SLOTS * turn + (wanted + step) % SLOTS for step in range(SLOTS))
        slot = next(slot for slot in slots if slot not in taken)
        taken.add(slot)
        colors[name] = numbered_color(slot)
    return colors


def text_color(background: Color) -> Color:
    """Return black or white, by contrast (WCAG 2.1, relative luminance)."""
    linear = [
        (c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in background
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return DARK if luminance > 0.179 else LIGHT
