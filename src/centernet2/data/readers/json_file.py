"""Read a JSON file with annotations in COCO's format, written by any program."""

import gc
import json
import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from centernet2.data.readers.json_records import Record
from centernet2.files import read_regular_file
from centernet2.text_files import decode_text

logger = logging.getLogger(__name__)

LARGE_JSON = 2**26  # bytes: reading it takes seconds
LISTS = ("images", "annotations", "categories")
# keys that are read: of the file, of its images, annotations and categories
READ_KEYS = {*LISTS, "id", "file_name", "width", "height", "name", "frequency"} | {
    "image_id", "category_id", "bbox", "bbox_mode", "area", "iscrowd", "segmentation", "size",
    "counts", "attributes", "rotation", "angle", "ignore", "coco_url", "neg_category_ids",
    "not_exhaustive_category_ids",
}  # fmt: skip
NAMING_KEYS = ("id", "image_id", "file_name", "file")  # that tell which record is meant
ARCHIVES = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "ZIP", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


@contextmanager
def garbage_collection_off() -> Iterator[None]:
    """Suspend Python's garbage collection.

    There is nothing to collect here, and scanning millions of records repeatedly takes a third of
    the time of reading a large JSON file.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@garbage_collection_off()
def read_json(path: Path) -> Record:
    """Read the content of a COCO JSON file in UTF-8, UTF-16 or UTF-32."""
    path = Path(path)
    content = read_json_file(path, "annotation file", _parse_annotations, READ_KEYS)
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: COCO's format is an object with images, annotations and categories, "
            f"not {_described(content)}"
        )
    return content


def read_json_file(path: Path, kind: str, parse: Callable[..., Any], keys: Collection[str]) -> Any:
    """Read a JSON file; refuse a key that a record has twice with different values.

    Args:
        kind: of the file, for messages.
        parse: makes a value of a path and its bytes, with options of `json.loads`.
        keys: those that are read.
    """
    try:
        content = read_regular_file(path)
    except OSError as error:
        raise ValueError(
            f"{path}: the {kind} cannot be opened ({error.strerror}); check the path"
        ) from error
    archive = next((name for mark, name in ARCHIVES.items() if content.startswith(mark)), None)
    if archive:
        raise ValueError(f"{path}: the file is compressed with {archive}; unpack it")
    if len(content) >= LARGE_JSON:
        logger.info("reading %s (%d MiB)", path, len(content) // 2**20)
    value = parse(path, content)
    if may_repeat_keys(content, value):
        repeated = RepeatedKeys(keys)
        parse(path, content, object_pairs_hook=repeated)
        repeated.raise_first(path)
    return value


def is_json(text: str) -> bool:
    """Whether a text is JSON of any content."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _parse_annotations(path: Path, text: bytes | str, **options: Any) -> Any:
    if not text.strip():
        raise ValueError(f"{path}: not a JSON file, but an empty one; export the annotations again")
    try:
        return json.loads(text, **options)
    except UnicodeDecodeError as error:  # decode_text raises an error that names the encoding
        return _parse_annotations(path, decode_text(error.object, path), **options)
    except ValueError as error:
        raise ValueError(
            f"{path}: not a JSON file ({json_problem(error)}); export the annotations in COCO "
            "format again"
        ) from error
    except RecursionError as error:
        raise ValueError(f"{path}: its lists are nested too deeply; export it again") from error


def _described(content: Any) -> str:
    if not isinstance(content, list):
        return f"the value {str(content)[:40]!r}"
    first = content[0] if content else None
    if isinstance(first, dict) and "score" in first:
        return (
            "a list of detections; give these to `centernet2 eval --predictions`, and the "
            "annotations as the data set"
        )
    return "a list"


def json_problem(error: ValueError) -> str:
    """Describe an error of the JSON parser."""
    if isinstance(error, json.JSONDecodeError):
        return str(error)
    return "it holds an integer of thousands of digits"  # the advice of Python is for programs


def may_repeat_keys(text: bytes, content: Any) -> bool:
    """Whether a text seems to have more keys than the records that were read from it."""
    written = text.count(b'":')
    if isinstance(content, dict):
        written -= len(content)
        lists = [value for value in content.values() if isinstance(value, list)]
        inner = [each for each in content.values() if type(each) is dict]
    else:
        lists, inner = [content] if isinstance(content, list) else [], []
    records = [each for each in chain.from_iterable(lists) if type(each) is dict]
    written -= sum(map(len, records))
    if not written:
        return False
    inner += [each for record in records for each in record.values() if type(each) is dict]
    return written != sum(map(len, inner))


class RepeatedKeys:
    """Make records of pairs; find the `keys` that occur twice with different values."""

    def __init__(self, keys: Collection[str]) -> None:
        self.keys = keys
        self.found: list[str] = []

    def __call__(self, pairs: list[tuple[str, Any]]) -> Record:
        """Return the record that the parser of JSON makes of its pairs."""
        record = dict(pairs)
        if len(record) < len(pairs):
            name = next((key for key in NAMING_KEYS if key in record), None)
            owner = "an object" if name is None else f"the record with the {name} {record[name]}"
            self.found += [
                f"{owner} has the key {key!r} twice"
                for key, value in pairs
                # the representation tells 1 from True and from 1.0
                if key in self.keys and repr(value) != repr(record[key])
            ]
        return record

    def raise_first(self, path: Path) -> None:
        """Raise ValueError if there are any."""
        if self.found:
            raise ValueError(f"{path}: {self.found[0]}, with different values; remove one of them")
