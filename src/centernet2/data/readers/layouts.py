"""Recognize the layout of a data set, and find the files of its splits.

To add a layout, write a module with a function that reads a split as records in COCO's format, such
as read_voc. Add its name to Layout in data/dataset.py and to KNOWN_LAYOUTS, a function that finds
its files to find_splits, and a case to read_split_files. For `centernet2 convert`, add a writer to
WRITERS in data/layout_writers.py.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from centernet2.data.dataset import Layout
from centernet2.data.findings import Finding, Tally
from centernet2.data.readers.image_folders import (
    IMAGE_FOLDERS,
    SPLIT_WORDS,
    find_image_folder,
    folders_named,
)
from centernet2.data.readers.json_file import LISTS, is_json, read_json
from centernet2.data.readers.json_records import Record
from centernet2.data.readers.other_formats import describe_other_format
from centernet2.data.readers.voc import XML_FOLDERS, find_images_of, read_voc, xml_files
from centernet2.data.readers.xml_text import XML_SUFFIX
from centernet2.data.readers.yolo import LABEL_FOLDERS, read_yolo
from centernet2.data.readers.yolo_sources import (
    YAML_SUFFIXES,
    YoloSource,
    find_source,
    read_class_list,
    read_darknet,
    read_source,
)
from centernet2.files import files_below, is_image_file
from centernet2.text_files import unicode_encoding

ALL = "all"  # the only split of undivided data
SPLITS = ("train", "val", "test", ALL)  # in the order in which commands treat them
SPLIT_WORD = re.compile(
    rf"(?<![a-z])({'|'.join(sorted(SPLIT_WORDS, key=len, reverse=True))})(?![a-z])"
)
OTHER_TASKS = (  # prefixes of JSON files without ground-truth boxes
    "captions_",
    "stuff_",
    "panoptic_",
    "image_info_",
    "lvis_v1_image_info_",
    "results",
    "notes.",
)
KEY_POINTS = "person_keypoints_"  # prefix of JSON files with boxes, too, of fewer classes
KNOWN_NAMES = ("instances_", "_annotations.coco")  # prefixes of JSON files that are surely COCO
# patterns of JSON files in a folder and in the folders below it
BESIDE = ("annotations/*.json", "*.json")
BELOW = ("*/*.json", "*/annotations/*.json")
NESTED = ("*/*/_annotations.coco.json",)  # an archive of Roboflow in its own folder
SMALL_JSON = 2**20  # bytes: the keys of smaller files are all looked at
CLASS_LISTS = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt")
KNOWN_LAYOUTS = (
    "COCO (annotations/instances_train*.json, train/_annotations.coco.json or a single JSON), "
    "YOLO (data.yaml, or classes.txt with images/ and labels/) and Pascal VOC (Annotations/*.xml)"
)


class SplitFiles(NamedTuple):
    """The files of one split."""

    layout: Layout
    # COCO: the JSON; YOLO: data.yaml, obj.data or classes.txt; VOC: the list of image names or the
    # XML folder
    annotations: Path
    images: tuple[Path, ...] = ()  # image folders; empty: searched by the file names in the JSON
    xml_folders: tuple[Path, ...] = ()  # VOC: the XML folders of all splits


class SplitRecords(NamedTuple):
    """The records of one split in COCO's format, whatever its layout."""

    content: Record
    folder: Path  # that the file names are relative to
    findings: tuple[Finding, ...] = ()  # problems that only the files of the layout show


def find_splits(path: Path) -> dict[str, SplitFiles]:
    """Find the splits of a folder or file: train, val and test in this order, or all."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; give a folder, an annotation file or the name of a data set"
        )
    if path.is_file():
        splits = _splits_of_file(path)
    else:
        splits = _find_coco(path, BESIDE) or _find_others(path)
    if not splits and _yolo_places(path):
        raise FileNotFoundError(
            f"{path}: has images and label files of YOLO, but no list of class names; add a "
            "data.yaml, or a classes.txt with one name per line"
        )
    if not splits:
        other = describe_other_format(path)
        raise FileNotFoundError(
            f"{path}: no data set was recognized; {other or f'known are {KNOWN_LAYOUTS}'}"
        )
    return {split: splits[split] for split in SPLITS if split in splits}


def read_split_files(files: SplitFiles, split: str) -> SplitRecords:
    """Read a split as records in COCO's format."""
    tally = Tally(split)
    if files.layout == "coco":
        content = read_json(files.annotations)
        folder = find_image_folder(content, files.annotations, split, files.images, tally)
    elif files.layout == "voc":
        folder = files.images[0]
        content = read_voc(files.annotations, files.xml_folders, folder, tally)
    else:
        content, folder = read_yolo(read_source(files.annotations), files.images, split, tally)
    return SplitRecords(content, folder, tally.findings())


def _find_others(folder: Path) -> dict[str, SplitFiles]:
    """Find YOLO or VOC, or COCO below; last what is undivided or nested."""
    below = _find_coco(folder, BELOW)
    if below and ALL not in below:
        return below
    own = _find_described_yolo(folder) or _find_yolo(folder) or _find_voc(folder)
    return own or below or _find_coco(folder, NESTED) or _only_voc(_folders(folder))


def _splits_of_file(path: Path) -> dict[str, SplitFiles]:
    suffix = path.suffix.lower()
    if suffix in (*YAML_SUFFIXES, ".data"):
        return _splits_of_source(read_source(path))
    other = describe_other_format(path)
    if suffix != ".json" or other:
        advice = other or "give a .json, a data.yaml or a folder"
        raise ValueError(f"{path}: not a known kind of annotation file; {advice}")
    return {ALL: SplitFiles("coco", path)}


def _find_coco(folder: Path, patterns: Sequence[str]) -> dict[str, SplitFiles]:
    """Find JSON files by the first pattern that matches any; deeper may be other data."""
    for pattern in patterns:
        by_split: dict[str, list[Path]] = {}
        files = list(filter(_is_coco, _visible(folder, pattern)))
        for file in [each for each in files if not each.name.startswith(KEY_POINTS)] or files:
            by_split.setdefault(split_of(file, folder), []).append(file)
        if by_split.keys() - {ALL}:
            by_split.pop(ALL, None)
        if by_split:
            return {
                split: SplitFiles("coco", _best(paths, split)) for split, paths in by_split.items()
            }
    return {}


def _is_coco(path: Path) -> bool:
    if path.name.startswith(OTHER_TASKS) or not path.is_file():
        return False
    if path.name.startswith(KNOWN_NAMES):
        return True
    with path.open("rb") as file:
        content = file.read(SMALL_JSON)
    encoding, start = unicode_encoding(content)
    text = content[start:].decode(encoding, errors="ignore")
    is_object, keys = text.lstrip().startswith("{"), [k for k in LISTS if f'"{k}"' in text]
    if len(content) == SMALL_JSON:  # the other keys may be farther back
        return is_object and bool(keys)
    if path.stem.lower() in SPLIT_WORDS and not is_json(text):
        return True  # its reader says what is wrong
    # the notes.json of Label Studio has categories alone
    return is_object and "images" in keys and len(keys) > 1


def split_of(file: Path, top: Path) -> str:
    """Read the split from the name of a file, or else of a folder above it."""
    for part in (file.stem, *reversed(file.parent.relative_to(top).parts)):
        text = re.sub(r"\d+", " ", part.lower().replace("test-dev", "test"))
        words = SPLIT_WORD.findall(text.replace("_", " "))
        if words:
            return SPLIT_WORDS[words[-1]]
    return ALL


def _best(paths: Sequence[Path], split: str) -> Path:
    """Choose one file of a split: usual name, then latest year, then shortest name."""

    def rank(path: Path) -> tuple[bool, int, int]:
        years = [int(year) for year in re.findall(r"20\d\d", path.stem)]
        return not path.name.startswith(KNOWN_NAMES), -max(years, default=0), len(path.name)

    ordered = sorted(paths, key=rank)
    if len(ordered) > 1 and rank(ordered[0]) == rank(ordered[1]):
        what = "annotation files" if split == ALL else f"files of the {split} split"
        raise ValueError(
            f"several {what} were found: {', '.join(map(str, ordered[:4]))}; give one of them"
        )
    return ordered[0]


def _find_described_yolo(folder: Path) -> dict[str, SplitFiles]:
    """Find the splits of a data.yaml or obj.data."""
    source = find_source(folder)
    if source is not None:
        return _splits_of_source(source)
    files = (*_visible(folder, "*.data"), *_visible(folder, "*/*.data"))
    path = next((path for path in files if path.is_file()), None)
    return {} if path is None else _splits_of_source(read_darknet(path))


def _find_yolo(folder: Path) -> dict[str, SplitFiles]:
    """Find the splits of images and label files beside a list of class names."""
    names = _class_list(folder)
    if names is None:
        return {}
    return {
        split: SplitFiles("yolo", names, places) for split, places in _yolo_places(folder).items()
    }


def _splits_of_source(source: YoloSource) -> dict[str, SplitFiles]:
    splits = {
        split: SplitFiles("yolo", source.path, places) for split, places in source.splits.items()
    }
    if not splits:
        raise FileNotFoundError(
            f"{source.path}: the images of its splits do not exist; correct its paths"
        )
    return splits


def _class_list(folder: Path) -> Path | None:
    """Find a list of class names in a folder or below it.

    LabelImg writes one beside each folder of labels, in the order of first use: they may differ.
    """
    for pattern in ("", "*/", "*/*/"):
        for name in (*CLASS_LISTS, "*.names"):
            found = _visible(folder, pattern + name)
            for path in found[1:]:
                if read_class_list(path) != read_class_list(found[0]):
                    raise ValueError(
                        f"{found[0]} and {path} list different classes, or in another order; "
                        "renumber the labels and keep one list"
                    )
            if found:
                return found[0]
    return None


def _yolo_places(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Find the folders or lists of images with YOLO's label files, by split."""
    above = next(iter(folders_named(folder, IMAGE_FOLDERS)), folder)
    for base in dict.fromkeys((above, folder)):
        inner = [each for each in _folders(base) if each.name.lower() in SPLIT_WORDS]
        inner = [each for each in inner if _has_images(each) and _has_texts(folder, each)]
        if inner:
            by_split: dict[str, tuple[Path, ...]] = {}
            for each in inner:
                split = SPLIT_WORDS[each.name.lower()]
                by_split[split] = (*by_split.get(split, ()), each)
            return by_split
    lists: dict[str, tuple[Path, ...]] = {
        SPLIT_WORDS[path.stem.lower()]: (path,)
        for path in sorted(folder.glob("*.txt"))
        if path.stem.lower() in SPLIT_WORDS
    }
    texts = (path for path in files_below(folder) if path.suffix == ".txt")
    if lists and any(path.parent != folder for path in texts):
        return lists
    return {ALL: (above,)} if _has_images(above) and _has_texts(folder, above) else {}


def _has_images(folder: Path) -> bool:
    return any(is_image_file(path) for path in files_below(folder))


def _has_texts(top: Path, images: Path) -> bool:
    """Whether a data set has label files beside its images or in a folder labels/."""
    places = [images, *folders_named(top, LABEL_FOLDERS)]
    return any(
        path.suffix.lower() == ".txt" and path.name not in CLASS_LISTS
        for place in places
        for path in files_below(place)
    )


def _find_voc(folder: Path) -> dict[str, SplitFiles]:
    """Find Pascal VOC in a folder, or in the only one of its folders by year."""
    years = [*folder.glob("VOC20*"), *folder.glob("VOCdevkit/VOC20*")]
    splits = _voc_splits(folder) or _only_voc(filter(Path.is_dir, years))
    if not splits and _has_xml(folder):
        return {ALL: SplitFiles("voc", folder, (folder,), (folder,))}
    return splits


def _only_voc(bases: Iterable[Path]) -> dict[str, SplitFiles]:
    """Find the splits of the only folder that has any; ValueError if several have.

    Folders that may not be read, as of the system at the root of a disk, have none.
    """
    readable = [base for base in sorted(bases) if os.access(base, os.R_OK | os.X_OK)]
    found = {base: splits for base in readable if (splits := _voc_splits(base))}
    if len(found) > 1:
        raise ValueError(
            f"several data sets of Pascal VOC were found: {', '.join(map(str, found))}; give one "
            "of them"
        )
    return next(iter(found.values()), {})


def _voc_splits(base: Path) -> dict[str, SplitFiles]:
    """Find the splits of a folder: by lists of names, or folders of XML files."""
    for xml in (each for each in _folders(base) if each.name.lower() in XML_FOLDERS):
        inner = _split_folders(xml, xml_files)
        if inner:  # Annotations/train beside images/train
            parts = {split: (p, find_images_of(p, base, (p.name,))) for split, p in inner.items()}
            return _voc_parts(parts)
        if xml_files(xml):
            images = find_images_of(xml, base)
            files = _voc_lists(base) or {ALL: xml}
            return {
                split: SplitFiles("voc", file, (images,), (xml,)) for split, file in files.items()
            }
    parts = {}
    for split, folder in _split_folders(base, _xml_folder).items():
        xml = _xml_folder(folder) or folder
        parts[split] = (xml, find_images_of(xml, folder))
    return _voc_parts(parts)


def _xml_folder(folder: Path) -> Path | None:
    """Return the folder of the XML files in a folder, which may be itself."""
    named = (x for x in _folders(folder) if x.name.lower() in XML_FOLDERS and xml_files(x))
    return next(named, folder if _has_xml(folder) else None)


def _split_folders(parent: Path, has_xml: Callable[[Path], object]) -> dict[str, Path]:
    """Return the folders that are named like a split and have XML files, by split."""
    found: dict[str, Path] = {}
    for folder in _folders(parent):
        split = SPLIT_WORDS.get(folder.name.lower())
        if split and has_xml(folder) and found.setdefault(split, folder) != folder:
            raise ValueError(
                f"{found[split]} and {folder} are both the {split} split; join or rename them"
            )
    return found


def _voc_parts(parts: dict[str, tuple[Path, Path]]) -> dict[str, SplitFiles]:
    """Make splits of XML and image folders; all of them together define the classes."""
    folders = tuple(xml for xml, _ in parts.values())
    return {
        split: SplitFiles("voc", xml, (images,), folders) for split, (xml, images) in parts.items()
    }


def _voc_lists(base: Path) -> dict[str, Path]:
    """Find the lists of image names of each split, such as ImageSets/Main/train.txt."""
    for folder in (base / "ImageSets" / "Main", base / "ImageSets", base):
        listed = {path.stem.lower(): path for path in sorted(folder.glob("*.txt"))}
        files = {
            SPLIT_WORDS[word]: listed[word]
            for word in reversed(SPLIT_WORDS)  # `train` takes precedence over `trainval`
            if word in listed
        }
        if files:
            return files
    return {}


def _folders(folder: Path) -> Sequence[Path]:
    with os.scandir(folder) as entries:  # which knows the kind of each of a million images
        return sorted(Path(entry.path) for entry in entries if _is_folder(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one; a link to itself is none."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))


def _has_xml(folder: Path) -> bool:
    return any(path.suffix.lower() == XML_SUFFIX for path in _visible(folder, "*"))


def _visible(folder: Path, pattern: str) -> list[Path]:
    """List what a pattern matches, without hidden files such as ._obj.data of macOS."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
