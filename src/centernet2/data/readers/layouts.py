"""Finds the splits of a data set by looking at its files: nobody has to say which tool has written them."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote

from centernet2.data.readers.coco import read_json
from centernet2.data.readers.voc import read_voc
from centernet2.data.readers.yolo import YoloFile, read_class_list, read_yaml, read_yolo

Record = dict[str, Any]
Format = Literal["coco", "voc", "yolo"]

ALL = "all"  # the split of data that are not divided
SPLIT_WORDS = {
    "train": "train",
    "trainval": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
WORD = re.compile(r"(?<![a-z])(trainval|train|validation|valid|val|test)(?![a-z])")
OTHER_TASKS = (
    "captions_",
    "person_keypoints_",
    "stuff_",
    "panoptic_",
    "image_info_",
    "lvis_v1_image_info_",
    "results",
)
KNOWN_NAMES = ("instances_", "_annotations.coco")  # of JSON files that need no look inside
FIRST_KEYS = re.compile(rb'\s*\{\s*"(info|licenses|images|annotations|categories|type)"')
IMAGE_FOLDERS = ("images", "JPEGImages", "data", "imgs", "img", "coco2017", "coco")
PROBES = 20  # images looked for to find the folder that holds them
LAYOUTS = (
    "COCO (annotations/instances_train*.json, train/_annotations.coco.json or a single JSON), "
    "YOLO (data.yaml) and Pascal VOC (Annotations/*.xml)"
)


class Source(NamedTuple):
    """The files of one split."""

    format: Format
    annotations: (
        Path  # the JSON; the list of image names or folder of XML files; data.yaml or classes.txt
    )
    images: tuple[
        Path, ...
    ] = ()  # where the images are; empty: to be found by the names in the JSON
    xml_folders: tuple[Path, ...] = ()  # VOC: of all splits


def find_sources(path: Path) -> dict[str, Source]:
    """The splits (train, val, test, or all) of a folder or a file, by what is there."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not there; give a folder, an annotation file or the name of a data set"
        )
    if path.is_file():
        return _sources_of_file(path)
    found = _find_coco(path) or _find_yolo(path) or _find_voc(path)
    if not found:
        raise FileNotFoundError(f"{path}: no data set was recognised; looked for {LAYOUTS}")
    return found


def read_source(source: Source, split: str) -> tuple[Record, Path]:
    """The records of a split in COCO's format, and the folder that their file names are relative to."""
    if source.format == "voc":
        return read_voc(source.annotations, source.xml_folders, source.images[0]), source.images[0]
    if source.format == "yolo":
        classes = _classes(source.annotations)
        root = source.annotations.parent.resolve()
        places = [place.resolve() for place in source.images]
        if not all(place.is_relative_to(root) for place in places):
            root = Path(places[0].anchor)
        return read_yolo(classes, places, root), root
    content = read_json(source.annotations)
    return content, place_images(content, source.annotations, split, source.images)


def place_images(
    content: Record, annotations: Path, split: str, given: Sequence[Path] = ()
) -> Path:
    """The folder of the images of a COCO JSON. Their file names are shortened in place to what is true below it.

    Tools write more in front of the name than exists elsewhere: folders of their server, an address, backslashes.
    """
    records = [r for r in content.get("images") or () if isinstance(r, dict)]
    names = {id(r): _clean_name(r) for r in records}
    probes = [names[id(r)] for r in records[:: max(1, len(records) // PROBES)] if names[id(r)]]
    candidates = list(given) or _image_folders(annotations, split)
    depth = max((len(PurePosixPath(name).parts) for name in probes), default=1)
    # the whole name first, in every folder; of equally good places the first
    places = [(folder, cut) for cut in range(depth) for folder in candidates]
    hits = [
        sum((folder / _shorten(name, cut)).is_file() for name in probes) for folder, cut in places
    ]
    folder, cut = places[hits.index(max(hits))]
    if not max(hits, default=0):
        folder, cut = candidates[0], 0
    for record in records:
        if names[id(record)]:
            record["file_name"] = _shorten(names[id(record)], cut)
    return folder


def _shorten(name: str, cut: int) -> str:
    """A name without its first folders, but never without its last part."""
    parts = PurePosixPath(name).parts
    return str(PurePosixPath(*parts[min(cut, len(parts) - 1) :]))


def _clean_name(record: Record) -> str:
    name = record.get("file_name")
    if not isinstance(name, str):
        name = "/".join(str(record.get("coco_url", "")).split("/")[-2:])  # LVIS
    if "?d=" in name:  # Label Studio's local files
        name = unquote(name.split("?d=", 1)[1])
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return ("/" if name.startswith("/") else "") + "/".join(parts)


def _image_folders(annotations: Path, split: str) -> list[Path]:
    """Where the images of a JSON may lie, the likeliest place first."""
    here, above = annotations.parent, annotations.parent.parent
    year = "".join(re.findall(r"20\d\d", annotations.stem)[:1])
    words = [word for word, meaning in SPLIT_WORDS.items() if meaning == split]
    inner = (
        [f"{word}{year}" for word in words]
        + words
        + [annotations.stem.removeprefix("instances_"), "default"]
    )
    bases = [above, here] if here.name.lower() in ("annotations", "lvis") else [here, above]
    folders = [base / name for base in bases for name in (*inner, *IMAGE_FOLDERS)]
    folders += [base / name / part for base in bases for name in IMAGE_FOLDERS for part in inner]
    first = above / "images" if here.name.lower() == "annotations" else here
    return [first, *(folder for folder in folders if folder.is_dir()), here, above]


def _sources_of_file(path: Path) -> dict[str, Source]:
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml"):
        found = read_yaml(path)
        if found is None:
            raise ValueError(
                f"{path}: not a data.yaml of YOLO's; it has 'names' and 'train' or 'val'"
            )
        return _sources_of_yaml(path, found)
    if suffix != ".json":
        raise ValueError(
            f"{path}: not an annotation file that is known; give a .json, a data.yaml or a folder"
        )
    return {ALL: Source("coco", path)}


def _find_coco(folder: Path) -> dict[str, Source]:
    """The files of the first place that has any: what lies deeper may be a data set of its own."""
    for pattern in ("annotations/*.json", "*.json", "*/*.json", "*/annotations/*.json"):
        by_split: dict[str, list[Path]] = {}
        for file in filter(_is_coco, sorted(folder.glob(pattern))):
            by_split.setdefault(split_of(file, folder), []).append(file)
        if by_split.keys() - {ALL}:
            by_split.pop(ALL, None)
        if by_split:
            return {split: Source("coco", _best(paths, split)) for split, paths in by_split.items()}
    return {}


def _is_coco(path: Path) -> bool:
    if path.name.startswith(OTHER_TASKS):
        return False
    if path.name.startswith(KNOWN_NAMES):
        return True
    with path.open("rb") as file:
        return FIRST_KEYS.match(file.read(200)) is not None


def split_of(file: Path, top: Path) -> str:
    """The split that a file's name tells, or else the folders that hold it."""
    for part in (file.stem, *reversed(file.parent.relative_to(top).parts)):
        words = WORD.findall(re.sub(r"\d+", " ", part.lower()).replace("_", " "))
        if words:
            return SPLIT_WORDS[words[-1]]
    return ALL


def _best(paths: Sequence[Path], split: str) -> Path:
    """The file that stands for a split: the usual name, the latest year, then the shortest name."""

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


def _find_yolo(folder: Path) -> dict[str, Source]:
    for file in (*sorted(folder.glob("*.yaml")), *sorted(folder.glob("*.yml"))):
        found = read_yaml(file)
        if found is not None:
            return _sources_of_yaml(file, found)
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
        return {ALL: Source("yolo", lists[0], (folder / "images",))}
    return {SPLIT_WORDS[path.name]: Source("yolo", lists[0], (path,)) for path in inner}


def _sources_of_yaml(path: Path, found: YoloFile) -> dict[str, Source]:
    return {split: Source("yolo", path, places) for split, places in found.splits.items()}


def _classes(path: Path) -> dict[int, str]:
    if path.suffix.lower() not in (".yaml", ".yml"):
        return read_class_list(path)
    found = read_yaml(path)
    if found is None:
        raise ValueError(
            f"{path}: not a data.yaml of YOLO's any more; it has 'names' and 'train' or 'val'"
        )
    return found.classes


def _find_voc(folder: Path) -> dict[str, Source]:
    for base in (folder, *sorted(folder.glob("VOC20*")), *sorted(folder.glob("VOCdevkit/VOC20*"))):
        for name in ("Annotations", "annotations", "labels", "xmls"):
            if _has_xml(base / name):
                return _voc_splits(base, base / name)
    inner = {
        SPLIT_WORDS[p.name]: p for p in _folders(folder) if p.name in SPLIT_WORDS and _has_xml(p)
    }
    if inner:
        return {split: Source("voc", p, (p,), tuple(inner.values())) for split, p in inner.items()}
    return {ALL: Source("voc", folder, (folder,), (folder,))} if _has_xml(folder) else {}


def _voc_splits(base: Path, xml: Path) -> dict[str, Source]:
    images = next(
        (base / name for name in ("JPEGImages", "images", "Images") if (base / name).is_dir()), xml
    )
    lists = base / "ImageSets" / "Main"
    if not lists.is_dir():
        return {ALL: Source("voc", xml, (images,), (xml,))}
    files = {
        split: lists / f"{split}.txt"
        for split in ("train", "val", "test")
        if (lists / f"{split}.txt").is_file()
    }
    if "train" not in files and (lists / "trainval.txt").is_file():
        files["train"] = lists / "trainval.txt"
    return {split: Source("voc", file, (images,), (xml,)) for split, file in files.items()}


def _folders(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _has_xml(folder: Path) -> bool:
    return folder.is_dir() and next(folder.glob("*.xml"), None) is not None
