"""Font files made from the font that Pillow contains, with other characters."""

import struct
from pathlib import Path

from PIL import ImageFont


def write_font(path: Path, shapes: dict[str, str]) -> Path:
    """Write a font that shows each character as Pillow's font shows another one.

    Args:
        shapes: character -> the character whose shape it has; the font lacks all others.
    """
    font = ImageFont.load_default(10)
    assert isinstance(font, ImageFont.FreeTypeFont)
    data = bytearray(font.font_bytes)
    glyphs = _glyphs(data)
    groups = sorted((ord(new), glyphs[ord(old)]) for new, old in shapes.items())
    table = struct.pack(
        ">HHHHLHHLLL", 0, 1, 3, 10, 12, 12, 0, 16 + 12 * len(groups), 0, len(groups)
    )
    table += b"".join(struct.pack(">LLL", code, code, glyph) for code, glyph in groups)
    entry = data.index(b"cmap", 12)  # tag, checksum, offset, length
    struct.pack_into(">LL", data, entry + 8, len(data), len(table))
    path.write_bytes(bytes(data) + table)
    return path


def _glyphs(data: bytearray) -> dict[int, int]:
    """Read the glyph of each character from a table in format 4."""
    (start,) = struct.unpack_from(">L", data, data.index(b"cmap", 12) + 8)
    (count,) = struct.unpack_from(">H", data, start + 2)
    offsets = [struct.unpack_from(">L", data, start + 8 + 8 * i)[0] + start for i in range(count)]
    table = next(o for o in offsets if struct.unpack_from(">H", data, o)[0] == 4)
    segments = struct.unpack_from(">H", data, table + 6)[0] // 2
    ends, starts, deltas, ranges = (
        struct.unpack_from(f">{segments}H", data, table + 14 + 2 * segments * i + 2 * (i > 0))
        for i in range(4)
    )
    base = table + 16 + 6 * segments  # of the range offsets
    glyphs: dict[int, int] = {}
    for i in range(segments):
        for code in range(starts[i], ends[i] + 1):
            glyph = code
            if ranges[i]:
                (glyph,) = struct.unpack_from(
                    ">H", data, base + 2 * i + ranges[i] + 2 * (code - starts[i])
                )
            glyphs[code] = (glyph + deltas[i]) % 65536
    return glyphs
