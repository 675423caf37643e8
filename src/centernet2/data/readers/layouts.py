"""Recognize the layout of a data set, and find the files of its splits.

To add a layout, write a module with a function that reads a split as records in COCO's format, such
as read_voc. Add its name to Layout in data/dataset.py and to KNOWN_LAYOUTS, a function that finds
its files to find_splits, and a case to read_split_files. For `centernet2 convert`, add a writer to
WRITERS in data/layout_writers.py.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from centernet2.data.dataset import Layout
from centernet2.data.findings import Finding
from centernet2.data.readers.coco import read_json
from centernet2.data.readers.image_folders import SPLIT_WORDS, find_image_folder
from centernet2.data.readers.json_records import Record
from centernet2.data.readers.voc import read_voc
from centernet2.data.readers.yolo import YoloFile, read_class_list, read_yaml, read_yolo

ALL = "all"  # the only split of undivided data
SPLIT_WORD = re.compile(r"(?<![a-z])(trainval|train|validation|valid|val|test)(?![a-z])")
OTHER_TASKS = (  # prefixes of JSON files without ground-truth boxes
    "captions_",
    "person_keypoints_",
    "stuff_",
    "panoptic_",
    "image_info_",
    "lvis_v1_image_info_",
    "results",
)
KNOWN_NAMES = ("instances_", "_annotations.coco")  # prefixes of JSON files that are surely COCO
FIRST_KEYS = re.compile(rb'\s*\{\s*"(info|licenses|images|annotations|categories|type)"')
KNOWN_LAYOUTS = (
    "COCO (annotations/instances_train*.json, train/_annotations.coco.json or a single JSON), "
    "YOLO (data.yaml) and Pascal VOC (Annotations/*.xml)"
)


class SplitFiles(NamedTuple):
    """The files of one split."""

    layout: Layout
    # COCO: the JSON; YOLO: data.yaml or classes.txt; VOC: the list of image names or the XML folder
    annotations: Path
    images: tuple[Path, ...] = ()  # image folders; empty: searched by the file names in the JSON
    xml_folders: tuple[Path, ...] = ()  # VOC: the XML folders of all splits


class SplitRecords(NamedTuple):
    """The records of one split in COCO's format, whatever its layout."""

    content: Record
    folder: Path  # that the file names are relative to
    findings: tuple[Finding, ...] = ()  # problems that only the files of the layout show


def find_splits(path: Path) -> dict[str, SplitFiles]:
    """Find the splits (train, val, test, or all) of a folder or a file."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; give a folder, an annotation file or the name of a data set"
        )
    if path.is_file():
        return _splits_of_file(path)
    splits = _find_coco(path) or _find_yolo(path) or _find_voc(path)
    if not splits:
        raise FileNotFoundError(f"{path}: no data set was recognized; known are {KNOWN_LAYOUTS}")
    return splits


def read_split_files(files: SplitFiles, split: str) -> SplitRecords:
    """Read a split as records in COCO's format."""
    if files.layout == "voc":
        content = read_voc(files.annotations, files.xml_folders, files.images[0])
        return SplitRecords(content, files.images[0])
    if files.layout == "yolo":
        classes = _classes(files.annotations)
        root = files.annotations.parent.resolve()
        places = [place.resolve() for place in files.images]
        if not all(place.is_relative_to(root) for place in places):
            root = Path(places[0].anchor)
        return SplitRecords(read_yolo(classes, places, root), root)
    content = read_json(files.annotations)
    folder = find_image_folder(content, files.annotations, split, files.images)
    return SplitRecords(content, folder)


def _splits_of_file(path: Path) -> dict[str, SplitFiles]:
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml"):
        content = read_yaml(path)
        if content is None:
            raise ValueError(
                f"{path}: not a data.yaml of YOLO, which has 'names' and 'train' or 'val'"
            )
        return _splits_of_yaml(path, content)
    if suffix != ".json":
        raise ValueError(
            f"{path}: not a known kind of annotation file; give a .json, a data.yaml or a folder"
        )
    return {ALL: SplitFiles("coco", path)}


def _find_coco(folder: Path) -> dict[str, SplitFiles]:
    """Find JSON files in the first folder level with any; deeper may be other data."""
    for pattern in ("annotations/*.json", "*.json", "*/*.json", "*/annotations/*.json"):
        by_split: dict[str, list[Path]] = {}
        for file in filter(_is_coco, sorted(folder.glob(pattern))):
            by_split.setdefault(split_of(file, folder), []).append(file)
        if by_split.keys() - {ALL}:
            by_split.pop(ALL, None)
        if by_split:
            return {
                split: SplitFiles("coco", _best(paths, split)) for split, paths in by_split.items()
            }
    return {}


def _is_coco(path: Path) -> bool:
    if path.name.startswith(OTHER_TASKS):
        return False
    if path.name.startswith(KNOWN_NAMES):
        return True
    with path.open("rb") as file:
        return FIRST_KEYS.match(file.read(200)) is not None


def split_of(file: Path, top: Path) -> str:
    """Read the split from the name of a file, or else of a folder above it."""
    for part in (file.stem, *reversed(file.parent.relative_to(top).parts)):
        words = SPLIT_WORD.findall(re.sub(r"\d+", " ", part.lower()).replace("_", " "))
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


def _find_yolo(folder: Path) -> dict[str, SplitFiles]:
    for file in (*sorted(folder.glob("*.yaml")), *sorted(folder.glob("*.yml"))):
        content = read_yaml(file)
        if content is not None:
            return _splits_of_yaml(file, content)
    lists = [
        folder / name
        for name in ("classes.txt", "obj.names", "labels/classes.txt")
        if (folder / name).is_file()
    ]
    if not lists or not (folder / "images").is_dir():
        return {}
    inner = [
        path
        for path in sorted((folder / "images").iterdir())
        if path.is_dir() and path.name in SPLIT_WORDS
    ]
    if not inner:
        return {ALL: SplitFiles("yolo", lists[0], (folder / "images",))}
    return {SPLIT_WORDS[path.name]: SplitFiles("yolo", lists[0], (path,)) for path in inner}


def _splits_of_yaml(path: Path, content: YoloFile) -> dict[str, SplitFiles]:
    return {split: SplitFiles("yolo", path, places) for split, places in content.splits.items()}


def _classes(path: Path) -> dict[int, str]:
    if path.suffix.lower() not in (".yaml", ".yml"):
        return read_class_list(path)
    content = read_yaml(path)
    if content is None:
        raise ValueError(
            f"{path}: no longer a data.yaml of YOLO, which has 'names' and 'train' or 'val'"
        )
    return content.classes


def _find_voc(folder: Path) -> dict[str, SplitFiles]:
    for base in (folder, *sorted(folder.glob("VOC20*")), *sorted(folder.glob("VOCdevkit/VOC20*"))):
        for name in ("Annotations", "annotations", "labels", "xmls"):
            if _has_xml(base / name):
                return _voc_splits(base, base / name)
    inner = {
        SPLIT_WORDS[p.name]: p for p in _folders(folder) if p.name in SPLIT_WORDS and _has_xml(p)
    }
    if inner:
        return {
            split: SplitFiles("voc", p, (p,), tuple(inner.values())) for split, p in inner.items()
        }
    return {ALL: SplitFiles("voc", folder, (folder,), (folder,))} if _has_xml(folder) else {}


def _voc_splits(base: Path, xml: Path) -> dict[str, SplitFiles]:
    images = next(
        (base / name for name in ("JPEGImages", "images", "Images") if (base / name).is_dir()), xml
    )
    lists = base / "ImageSets" / "Main"
    if not lists.is_dir():
        return {ALL: SplitFiles("voc", xml, (images,), (xml,))}
    files = {
        split: lists / f"{split}.txt"
        for split in ("train", "val", "test")
        if (lists / f"{split}.txt").is_file()
    }
    if "train" not in files and (lists / "trainval.txt").is_file():
        files["train"] = lists / "trainval.txt"
    return {split: SplitFiles("voc", file, (images,), (xml,)) for split, file in files.items()}


def _folders(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _has_xml(folder: Path) -> bool:
    return folder.is_dir() and next(folder.glob("*.xml"), None) is not None
