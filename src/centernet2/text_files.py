"""Text files in UTF-8, UTF-16 or UTF-32, with or without a byte order mark."""

import codecs
from itertools import pairwise
from pathlib import Path

from centernet2.files import read_regular_file

BYTE_ORDER_MARKS = {  # UTF-32 first: its mark begins with the one of UTF-16
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# of each legacy encoding, the first and the second bytes of its usual two-byte characters
LEGACY_ENCODINGS: dict[str, tuple[range, range]] = {
    "GBK": (range(0xB0, 0xD8), range(0xA1, 0xFF)),  # the first level of GB 2312
    "EUC-KR": (range(0xB0, 0xC9), range(0xA1, 0xFF)),  # hangul
    "SHIFT_JIS": (range(0x82, 0x98), range(0x40, 0xFD)),  # kana and the first level of kanji
    "BIG5": (range(0xA4, 0xC7), range(0x40, 0xFF)),  # the first level
}
CYRILLIC_LETTERS = range(0xC0, 0x100)  # in CP1251


def read_text_file(path: Path) -> str:
    """Read a text file in UTF-8, UTF-16 or UTF-32; lines end with a newline.

    Raises:
        ValueError: the file has another encoding, which the message guesses, or is no text file.
    """
    return decode_text(read_regular_file(path), path)


def decode_text(content: bytes, path: Path) -> str:
    """Decode the content of a text file as read_text_file does."""
    encoding, start = unicode_encoding(content)
    try:
        text = content[start:].decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8" or b"\0" in content:
            raise ValueError(f"{path}: not a text file, or a damaged one; replace it") from error
        line = content.count(b"\n", 0, start + error.start) + 1
        guesses = guess_encoding(content)
        raise ValueError(
            f"{path}, line {line}: the text is not UTF-8 but probably {' or '.join(guesses)}; "
            f"convert it, for example with `iconv -f {guesses[0]} -t UTF-8 {path.name}`"
        ) from error
    if "\0" in text:
        raise ValueError(f"{path}: not a text file, because it holds zero bytes; replace it")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def unicode_encoding(content: bytes) -> tuple[str, int]:
    """Return the Unicode encoding of a text, and the length of its byte order mark.

    Without a mark, it is UTF-16 if every other one of the first bytes is zero, as in a text that
    begins with ASCII, and else UTF-8.
    """
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return encoding, len(mark)
    first, second = content[:8:2], content[1:8:2]
    if len(content) >= 2 and not any(second) and all(first):
        return "utf-16-le", 0
    return "utf-16-be" if len(content) >= 2 and not any(first) and all(second) else "utf-8", 0


def guess_encoding(content: bytes) -> list[str]:
    """Return the likely encoding of a text that is not UTF-8, or two equally likely.

    The languages of East Asia write two bytes per character; an encoding is likely when its usual
    characters are most of the text's. A letter of CP1252 is alone among letters of ASCII.
    """
    shares = {name: _share_of_usual(content, name) for name in LEGACY_ENCODINGS}
    best = max(shares.values())
    if best > 0.6:
        return [name for name, share in shares.items() if share == best][:2]
    high = sum(byte >= 0x80 for byte in content)
    letters = sum(a in CYRILLIC_LETTERS and b in CYRILLIC_LETTERS for a, b in pairwise(content))
    return ["CP1251" if 2 * letters > high else "CP1252"]


def _share_of_usual(content: bytes, encoding: str) -> float:
    """Share of the two-byte characters of a text that are usual ones of an encoding."""
    firsts, seconds = LEGACY_ENCODINGS[encoding]
    try:
        text = content.decode(encoding.lower())
    except UnicodeDecodeError:
        return 0.0
    foreign = [c.encode(encoding.lower()) for c in text if not c.isascii()]
    usual = sum(len(c) == 2 and c[0] in firsts and c[1] in seconds for c in foreign)
    return usual / max(1, len(foreign))
