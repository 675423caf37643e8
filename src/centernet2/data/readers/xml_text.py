"""Parse XML files in any declared encoding."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from centernet2.files import read_regular_file
from centernet2.text_files import decode_text, unicode_encoding

XML_SUFFIX = ".xml"
DECLARATION = re.compile(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([^"']*)["'][^>]*\?>""")
DECLARED = re.compile(r"\s*<\?xml[^>]*\?>")
FIRST_OF_THREE_BYTES = "\u0800"  # the first character that has three bytes in UTF-8


def parse_xml(path: Path) -> ET.Element:
    """Return the root element of an XML file; names of elements are in lower case.

    The parser of the standard library knows few encodings, so the text is decoded first. A wrong
    declaration, which tools copy into files in UTF-8, does not count.

    Raises:
        ValueError: the file is no XML, or its text has another encoding than declared.
    """
    try:
        content = read_regular_file(path)
        text = DECLARED.sub("", _decode(content, path), count=1).strip()
        if not text:
            raise ValueError(f"{path}: not an XML file (it is empty); export or remove it")
        root = ET.fromstring(text)
    except (ET.ParseError, OSError, UnicodeError) as error:
        raise ValueError(f"{path}: not an XML file ({error}); export or remove it") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2].lower()
    return root


def _decode(content: bytes, path: Path) -> str:
    declaration = DECLARATION.match(content)
    declared = declaration[1].decode("ascii", "replace").strip() if declaration else ""
    encoding, start = unicode_encoding(content)
    if start or encoding != "utf-8" or not declared or content.isascii():
        return decode_text(content, path)
    unicode = _try(content, "utf-8")
    by_declaration = _try(content, declared)
    if unicode is not None:
        has_three_bytes = max(unicode) >= FIRST_OF_THREE_BYTES
        if has_three_bytes or by_declaration is None or len(by_declaration) == len(content):
            return unicode
    return decode_text(content, path) if by_declaration is None else by_declaration


def _try(content: bytes, encoding: str) -> str | None:
    """Decode a text; None for a wrong encoding, or one that Python does not know."""
    try:
        return content.decode(encoding)
    except (UnicodeError, LookupError):
        return None
