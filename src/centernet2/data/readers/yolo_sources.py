"""Read files that describe a YOLO data set: data.yaml, obj.data, class names."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from centernet2.data.class_names import clean_name
from centernet2.data.findings import Problem
from centernet2.data.readers.image_folders import SPLIT_WORDS
from centernet2.files import unicode_forms
from centernet2.text_files import read_text_file
from centernet2.yaml_files import TextLoader, parse_yaml

YAML_SUFFIXES = (".yaml", ".yml")
USUAL_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
NO_VALUE = ("", "~", "null", "Null", "NULL")  # in YAML
SHOWN_LETTERS = 40  # of a wrong value
MAX_DIGITS = 6  # of a number of classes or of a class
# brackets, a comment, a comma at the end, a name in quotes, a key of YAML
NO_PLAIN_NAME = re.compile(r"""^[\[{]|^#\s|[,;]$|^(["']).*\1$|^(names|nc)\s*:""")
MAX_PLACES = 6  # of a message that says where was looked
OTHER_COUNT = Problem("nc that differs from the number of names", "note", "correct nc")
NO_NAMES = Problem("classes without names", "note", "add their names to data.yaml")


class YoloSource(NamedTuple):
    """What the files of a YOLO data set state about it."""

    path: Path
    classes: dict[int, str]  # name by number
    splits: dict[str, tuple[Path, ...]]  # folders of images, or text files that list images
    roots: tuple[Path, ...]  # folders that the paths in lists of images may be relative to
    keypoints: tuple[int, int] | None = None  # number of points, numbers of each
    task: str = ""  # segment, pose, obb or detect, if stated
    problems: tuple[tuple[Problem, str], ...] = ()


def find_source(folder: Path) -> YoloSource | None:
    """Find and read the data.yaml of a folder, under any name, or of a folder in it."""
    for pattern in ("*", "*/*"):
        found: dict[Path, YoloSource | ValueError | OSError] = {}
        for path in sorted(folder.glob(pattern)):
            if path.suffix.lower() not in YAML_SUFFIXES or not path.is_file():
                continue
            try:
                source = read_data_yaml(path)
            except (ValueError, OSError) as error:
                if _has_names(path):
                    found[path] = error
                continue
            if source is not None:
                found[path] = source
        if found:
            return _best(found)
    return None


def _has_names(path: Path) -> bool:
    """Whether a file that cannot be used seems to be a data.yaml."""
    try:
        content = path.read_bytes().replace(b"\0", b"")
        return b"names" in content or b"nc:" in content
    except OSError:
        return path.name.lower() in USUAL_NAMES


def _best(found: Mapping[Path, YoloSource | ValueError | OSError]) -> YoloSource:
    """Choose data.yaml or dataset.yaml among several files; raise its error, if any."""

    def rank(path: Path) -> int:
        name = path.name.lower()
        return USUAL_NAMES.index(name) // 2 if name in USUAL_NAMES else len(USUAL_NAMES)

    ordered = sorted(found, key=rank)
    if len(ordered) > 1 and rank(ordered[0]) == rank(ordered[1]):
        names = ", ".join(map(str, ordered[:4]))
        raise ValueError(f"several YAML files of YOLO were found: {names}; give one of them")
    best = found[ordered[0]]
    if isinstance(best, ValueError | OSError):
        raise best
    return best


def read_source(path: Path) -> YoloSource:
    """Read a data.yaml, an obj.data of darknet or a list of class names."""
    suffix = path.suffix.lower()
    if suffix in YAML_SUFFIXES:
        source = read_data_yaml(path)
        if source is None:
            raise ValueError(
                f"{path}: not a data.yaml of YOLO, which has 'names' and 'train' or 'val'"
            )
        return source
    if suffix == ".data":
        return read_darknet(path)
    return YoloSource(path, read_class_list(path), {}, (path.parent,))


def read_data_yaml(path: Path) -> YoloSource | None:
    """Read a data.yaml file; None if the file is something else."""
    content = parse_yaml(read_text_file(path), path, TextLoader)
    if not isinstance(content, dict):
        return None
    places: dict[str, list[str]] = {}
    for key, value in sorted(content.items(), key=lambda item: item[0] not in SPLIT_WORDS.values()):
        split = SPLIT_WORDS.get(str(key).lower())
        texts = [each for each in _texts(value, path, str(key)) if each not in NO_VALUE]
        if split and texts:  # `val` takes precedence over `valid`
            places.setdefault(split, texts)
    counted = str(content.get("nc", "")).isdecimal()
    if not places or not ("names" in content or counted):
        return None
    root = str(content.get("path", ""))
    stated = None if root in NO_VALUE else find_path([path.parent], root)
    roots = tuple(dict.fromkeys((stated or path.parent, path.parent)))
    classes, problems = _classes(content, path)
    keypoints = _keypoints(content, path)
    inner = "roboflow" in content  # its paths begin with ../ but mean the folder of the file
    splits = {
        split: found
        for split, texts in places.items()
        if (found := _places(texts, roots, path, split, inner=inner))
    }
    _refuse_same_places(places, splits, path)
    task = str(content.get("task", "")).lower()
    if not task and keypoints is None and {"flip_idx", "skeleton", "kpt_names"} & content.keys():
        task = "pose"
    return YoloSource(path, classes, splits, roots, keypoints, task, problems)


def _texts(value: Any, path: Path, key: str) -> list[str]:
    """Return the texts of a value that is one or a list of them."""
    values = value if isinstance(value, list) else [value]
    if key.lower() in SPLIT_WORDS and not all(isinstance(each, str) for each in values):
        raise ValueError(f"{path}: {key!r} is neither a path nor a list of paths; correct it")
    return [each.strip() for each in values if isinstance(each, str)]


def _classes(
    content: Mapping[str, Any], path: Path
) -> tuple[dict[int, str], tuple[tuple[Problem, str], ...]]:
    names, count = content.get("names"), str(content.get("nc", ""))
    if count.isdecimal() and len(count) > MAX_DIGITS:
        raise ValueError(
            f"{path}: nc is {count[:SHOWN_LETTERS]}, not a number of classes; correct it"
        )
    if names is None or names in NO_VALUE:
        made = {k: f"class_{k}" for k in range(int(count) if count.isdecimal() else 0)}
        return require_classes(made, path), ((NO_NAMES, f"{path}: nc is {count}"),)
    if isinstance(names, list):
        classes = dict(enumerate(names))
    elif isinstance(names, dict):
        try:
            classes = {_class_number(key): name for key, name in names.items()}
        except ValueError:
            raise ValueError(
                f"{path}: 'names' has a key that is not a number; write NUMBER: NAME"
            ) from None
    else:
        raise ValueError(
            f"{path}: 'names' is neither a list nor a mapping of class names; correct it"
        )
    if not all(isinstance(name, str) for name in classes.values()):
        raise ValueError(f"{path}: 'names' holds something else than texts; correct it")
    classes = require_classes(classes, path)
    if count.isdecimal() and int(count) not in (len(classes), max(classes) + 1):
        text = f"{path}: nc is {count}, but there are {len(classes)} names"
        return classes, ((OTHER_COUNT, text),)
    return classes, ()


def _class_number(key: str) -> int:
    """Read the number of a class as it is usually written."""
    if len(key) > MAX_DIGITS or key != str(int(key)):
        raise ValueError(key)
    return int(key)


def require_classes(classes: Mapping[int, str], path: Path) -> dict[int, str]:
    """Return the class names as `clean_name` does; each must be there once."""
    stripped = {number: clean_name(name) for number, name in sorted(classes.items())}
    number_of: dict[str, int] = {}
    if not stripped:
        raise ValueError(f"{path}: there are no class names; add them")
    for number, name in stripped.items():
        if not name:
            raise ValueError(f"{path}: class {number} has an empty name; give it one")
        if number < 0:
            raise ValueError(f"{path}: class {name!r} has the number {number}; begin with 0")
        if name in number_of:
            raise ValueError(
                f"{path}: the classes {number_of[name]} and {number} have the same name {name!r}; "
                "give each class a name of its own"
            )
        number_of[name] = number
    return stripped


def _keypoints(content: Mapping[str, Any], path: Path) -> tuple[int, int] | None:
    shape = content.get("kpt_shape")
    if shape is None or shape in NO_VALUE:
        return None
    words = shape if isinstance(shape, list) else re.findall(r"[^\s,()\[\]]+", str(shape))
    if len(words) != 2 or not all(re.fullmatch(r"[0-9]{1,6}", str(word)) for word in words):
        text = str(shape)[:SHOWN_LETTERS]
        raise ValueError(f"{path}: kpt_shape is {text}, not [POINTS, NUMBERS]; correct it")
    points, numbers = int(words[0]), int(words[1])
    if points < 1 or numbers not in (2, 3):
        raise ValueError(f"{path}: kpt_shape is {shape}, but a key point has 2 or 3 numbers")
    return points, numbers


def read_class_list(path: Path) -> dict[int, str]:
    """Read the names of classes, one per line (classes.txt, obj.names).

    Numbers before all names, 0 first, are no part of them.
    """
    lines = [line.strip() for line in read_text_file(path).rstrip().split("\n")]
    for number, line in enumerate(lines, start=1):
        if not line:
            raise ValueError(
                f"{path}, line {number}: has no class name; each line is the name of one class"
            )
        if NO_PLAIN_NAME.search(line) or (len(lines) == 1 and re.search(r"[,;\t]", line)):
            raise ValueError(
                f"{path}, line {number}: {line[:SHOWN_LETTERS]!r} is not the name of one class; "
                "write one name per line, without brackets, quotes, comments or commas after it"
            )
    numbered = [re.fullmatch(rf"{k}\s*[:,.]?\s+(\S.*)", line) for k, line in enumerate(lines)]
    from_one = [re.match(rf"{k}\s*[:,.]?\s+\S", line) for k, line in enumerate(lines, start=1)]
    if len(lines) > 2 and all(from_one):  # "1 euro" and "2 euro" are names
        raise ValueError(f"{path}: the classes are numbered from 1; number them from 0, or not")
    if len(lines) > 1 and all(line.endswith(f":{k}") for k, line in enumerate(lines)):
        raise ValueError(f"{path}: the names are followed by their numbers; remove these")
    names = [match[1] for match in numbered if match is not None]
    return require_classes(dict(enumerate(names if len(names) == len(lines) else lines)), path)


def read_darknet(path: Path) -> YoloSource:
    """Read an obj.data file of darknet: names, train and valid are paths."""
    values = {}
    for line in read_text_file(path).split("\n"):
        key, separator, value = line.partition("#")[0].partition("=")
        if separator and value.strip():
            values[key.strip().lower()] = value.strip()
    names = find_path([path.parent], values["names"]) if "names" in values else None
    if names is None:
        raise ValueError(
            f"{path}: its list of class names, 'names = {values.get('names', '')}', does not "
            "exist; correct it"
        )
    roots = (path.parent,)
    splits = {
        split: found
        for key, value in values.items()
        if (split := SPLIT_WORDS.get(key)) and (found := _places([value], roots, path, split))
    }
    return YoloSource(path, read_class_list(names), splits, roots)


def _places(
    texts: Iterable[str], roots: Sequence[Path], file: Path, split: str, *, inner: bool = False
) -> tuple[Path, ...]:
    """Return the places of a split; a test split that does not exist is left out."""
    places = []
    for text in texts:
        place = find_path(roots, text, inner=inner)
        if place is not None:
            places.append(place)
        elif split != "test":
            tried = list(dict.fromkeys(str(each) for each in candidates(roots, text)))
            raise FileNotFoundError(
                f"{file}: the images of the split {split!r}, {text!r}, do not exist; looked for "
                f"{', '.join(tried[:MAX_PLACES])}; correct the paths in {file.name}"
            )
    return tuple(places)


def _refuse_same_places(
    texts: Mapping[str, Sequence[str]], splits: Mapping[str, tuple[Path, ...]], file: Path
) -> None:
    """Refuse different paths that were shortened until they meant the same folder."""
    for first in splits:
        for second in splits:
            differ = _normalized(texts[first]) != _normalized(texts[second])
            if first < second and differ and splits[first] == splits[second]:
                raise ValueError(
                    f"{file}: the images of {first!r} ({texts[first][0]}) and of {second!r} "
                    f"({texts[second][0]}) do not exist, only {splits[first][0]}; correct the paths"
                )


def _normalized(texts: Sequence[str]) -> list[str]:
    return [os.path.normpath(_slashes(text)) for text in texts]


def find_path(roots: Sequence[Path], text: str, *, inner: bool = False) -> Path | None:
    """Find a path from another machine in the folders `roots`; None if it is in none.

    It is tried as it is, then without leading ../ and without its leading folders. Each folder may
    be spelled in other letters, large or small.
    """
    tried = [place for form in unicode_forms(text) for place in candidates(roots, form)]
    if inner:
        tried = [*candidates(roots, re.sub(r"^(\.\./)+", "", _slashes(text))), *tried]
    existing = next(filter(os.path.exists, tried), None)
    return existing or next(filter(None, map(in_any_case, tried)), None)


def candidates(roots: Sequence[Path], text: str) -> list[Path]:
    """List the places that a path may mean, the most likely first."""
    text = _slashes(text)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    absolute = text.startswith("/") or re.match(r"[A-Za-z]:", text) is not None
    places = [Path(os.path.expanduser(text))] if absolute or text.startswith("~") else []
    if not absolute:
        places += [root / Path(*parts) for root in roots]
    while parts and parts[0] == "..":
        parts = parts[1:]
    for cut in range(1 if absolute else 0, len(parts)):
        if cut == len(parts) - 1 and cut and not _is_telling(parts[-1]):
            break
        places += [root / Path(*parts[cut:]) for root in roots]
    return list(dict.fromkeys(places))


def _is_telling(name: str) -> bool:
    """Whether a name without its folders can only mean one place: a split or a file."""
    return name.lower() in SPLIT_WORDS or "." in name


def _slashes(text: str) -> str:
    return text.strip().strip("'\"").replace("\\", "/")


def in_any_case(path: Path) -> Path | None:
    """Find a path whose parts may be written in other letters, large or small."""
    if os.path.exists(path):
        return path
    if path.parent == path or path.name == "..":
        return None
    parent = in_any_case(path.parent)
    if parent is None or not parent.is_dir():
        return None
    name = path.name.lower()
    return next((each for each in sorted(parent.iterdir()) if each.name.lower() == name), None)
