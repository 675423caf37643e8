"""Maps of class names, from the command line or a file, checked against the data."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from centernet2.config import CLASS_MAP_KEY, Config, ConfigError, Overrides, parse_pairs
from centernet2.data import (
    DetectionDataset,
    category_names,
    class_list,
    clean_name,
    rename_categories,
)
from centernet2.data.readers.json_file import json_problem
from centernet2.spelling import meant_words
from centernet2.structures import StrPath
from centernet2.text_files import read_text_file
from centernet2.yaml_files import TextLoader, parse_yaml

CLASS_MAP_OPTION = "--class-map"
PAIRS_ADVICE = "give pairs old=new, or a file with them"
SUFFIXES = (".json", ".yaml", ".yml", ".txt")
NamePairs = Iterable[tuple[Any, Any]]


def read_class_map(given: Mapping[str, str] | Sequence[str] | StrPath) -> tuple[str, ...]:
    """Read --class-map into pairs "old=new", as DATASETS.CLASS_MAP holds them.

    Args:
        given: a dictionary, one text or several, or pairs of texts. A text is a pair, pairs
            separated by commas, or the path of a file: JSON or YAML with a dictionary, or lines
            old=new.

    Raises:
        ConfigError: a file cannot be read, or there is a malformed pair or none.
    """
    if isinstance(given, Mapping):
        pairs = _joined(given.items(), CLASS_MAP_OPTION)
    else:
        items = given if isinstance(given, list | tuple) else [given]
        pairs = [pair for item in items for pair in _read_item(item)]
    parse_class_map(pairs, CLASS_MAP_OPTION)
    return tuple(pairs)


def parse_class_map(pairs: Sequence[str], owner: str = CLASS_MAP_KEY) -> dict[str, str]:
    """Parse pairs "old=new" into a dictionary.

    Args:
        owner: option with these pairs, for the message.

    Raises:
        ConfigError: a pair is malformed, or one class gets two names.
    """
    class_map: dict[str, str] = {}
    for pair in pairs:
        old, _, new = (clean_name(part) for part in pair.partition("="))
        if not old or not new or "=" in new:
            raise ConfigError(
                f"{owner} has '{pair}', which is no pair old=new of two class names; {PAIRS_ADVICE}"
            )
        if class_map.setdefault(old, new) != new:
            raise ConfigError(
                f"{owner} gives '{old}' two new names, '{class_map[old]}' and '{new}'; leave one "
                "of them out"
            )
    return class_map


def class_map_of(
    given: Mapping[str, str] | Sequence[str] | StrPath | None, overrides: Overrides = ()
) -> tuple[str, ...] | None:
    """Return the pairs given by --class-map or an override; None: neither is given."""
    if given is not None:
        return read_class_map(given)
    pairs: tuple[str, ...] | None = parse_pairs(overrides).get(CLASS_MAP_KEY)
    return None if pairs is None else Config().replace({CLASS_MAP_KEY: pairs})[CLASS_MAP_KEY]


class CategoryRenaming:
    """Rename the categories of records in COCO's format, and remember the old names."""

    def __init__(self, class_map: Mapping[str, str]) -> None:
        self.class_map = class_map
        self.names: list[str] = []

    def __call__(self, content: dict[str, Any]) -> dict[str, Any]:
        if not self.class_map:
            return content
        self.names += category_names(content)
        return rename_categories(content, self.class_map)


def require_renamed(
    class_map: Mapping[str, str],
    datasets: Sequence[DetectionDataset],
    owner: str = CLASS_MAP_OPTION,
) -> None:
    """Raise ConfigError for a class to rename that none of the data sets has.

    Args:
        owner: option with this map, for the message.
    """
    names = [name for dataset in datasets for name in _names_in_files(dataset)]
    require_names(class_map, names, " and ".join(each.name for each in datasets), owner)


def require_names(
    class_map: Mapping[str, str], names: Iterable[str], where: str, owner: str = CLASS_MAP_OPTION
) -> None:
    """Raise ConfigError for a class to rename that is not among these names."""
    known = list(dict.fromkeys(names))
    for old, new in class_map.items():
        if old not in known:
            near = [repr(each) for each in meant_words(old, known)]
            hint = f"did you mean {' or '.join(near)}?" if near else f"it has {class_list(known)}"
            raise ConfigError(
                f"{owner} renames '{old}' to '{new}', but {where} has no class '{old}'; {hint}"
            )


def _names_in_files(dataset: DetectionDataset) -> list[str]:
    """Return the class names as they are in the files."""
    renamed = {new for _, _, new in dataset.renamed}
    return [
        *(name for name, _, _ in dataset.renamed),
        *(name for name in dataset.class_names if name not in renamed),
    ]


def _read_item(item: object) -> list[str]:
    if isinstance(item, tuple | list) and len(item) == 2:
        return _joined([(item[0], item[1])], CLASS_MAP_OPTION)
    if isinstance(item, Mapping):
        return _joined(item.items(), CLASS_MAP_OPTION)
    if not isinstance(item, str | os.PathLike):
        raise ConfigError(
            f"{CLASS_MAP_OPTION} is of type {type(item).__name__}; give a dictionary, pairs "
            "old=new, or a file with them"
        )
    return _read_text(os.fsdecode(item))


def _read_text(text: str) -> list[str]:
    path = Path(text)
    if text and (os.path.isfile(path) or ("=" not in text and path.suffix.lower() in SUFFIXES)):
        return _read_file(path)
    parts = text.split(",")
    several = all(part.count("=") == 1 for part in parts)  # else a name has a comma
    return [_stripped(part) for part in (parts if several else [text])]


def _stripped(pair: str) -> str:
    return "=".join(name.strip() for name in pair.split("="))


def _read_file(path: Path) -> list[str]:
    if not path.is_file():
        raise ConfigError(f"{CLASS_MAP_OPTION} {path}: there is no such file; {PAIRS_ADVICE}")
    text, suffix, owner = read_text_file(path), path.suffix.lower(), f"{CLASS_MAP_OPTION} {path}"
    if suffix not in (".json", ".yaml", ".yml"):
        lines = [line for line in text.splitlines() if line.strip()]
        pairs = [_stripped(line) for line in lines]
    else:
        pairs_of = _pairs_of_json if suffix == ".json" else _pairs_of_yaml
        pairs = _joined(pairs_of(text, owner), owner)
    if not pairs:
        raise ConfigError(f"{owner} holds no pair; {PAIRS_ADVICE}")
    parse_class_map(pairs, owner)
    return pairs


def _pairs_of_json(text: str, owner: str) -> NamePairs:
    try:  # pairs, because a dictionary keeps only the last of two new names
        content = json.loads(text, object_pairs_hook=lambda pairs: {"pairs": pairs})
    except ValueError as error:
        raise ConfigError(f"{owner} is not valid JSON: {json_problem(error)}") from None
    if not isinstance(content, dict):
        raise ConfigError(f'{owner} must hold a dictionary {{"old": "new"}}')
    pairs: NamePairs = content["pairs"]
    return pairs


def _pairs_of_yaml(text: str, owner: str) -> NamePairs:
    try:
        content = parse_yaml(text, owner, TextLoader)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if not isinstance(content, dict):
        raise ConfigError(f"{owner} must hold a dictionary, with lines 'old: new'")
    return content.items()


def _joined(pairs: NamePairs, owner: str) -> list[str]:
    """Join pairs of names; those that are no texts raise ConfigError."""
    for pair in pairs:
        for name in pair:
            if not isinstance(name, str) or not name.strip() or "=" in name:
                raise ConfigError(
                    f"{owner} has {str(name)[:40]!r} where a class name is needed, which is text "
                    "without '='"
                )
    return ["=".join(pair) for pair in pairs]
