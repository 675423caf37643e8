"""Read Pascal VOC's XML files as records in COCO's format.

Everingham et al., IJCV 2010; the devkit describes the files. VOC counts pixels from 1, and the last
pixel is inside the box. Other tools write plain coordinates into such XML files, and do not name
VOC as the source.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from centernet2.data.findings import Problem, Tally
from centernet2.data.image_check import read_sizes
from centernet2.data.readers.image_folders import IMAGE_FOLDERS, folders_named, is_hidden
from centernet2.data.readers.json_records import Record
from centernet2.data.readers.voc_xml import FROM_POLYGON, VocFile, read_annotation
from centernet2.data.readers.xml_text import XML_SUFFIX, parse_xml
from centernet2.files import files_below, is_image_file, one_form, without_image_suffix
from centernet2.images.heif import open_image
from centernet2.images.image_files import ROTATED, ImageError, orientation_of
from centernet2.text_files import read_text_file

Item = TypeVar("Item")
XML_FOLDERS = ("annotations", "annotation", "labels", "xmls", "xml")  # in lower case
FLAGGED = re.compile(r"(.*\S)\s+(-1|0|1)")  # a line of a class's list
NO_ANNOTATION = Problem(
    "XML files that are no annotation of an image", "drops", "export or remove them"
)
SIZES = Problem(
    "image sizes that are missing or damaged in the XML", "repairs",
    "the size of the image file is taken",
)  # fmt: skip
TURNED = Problem(
    "image sizes whose width and height are exchanged", "repairs",
    "the size of the image file is taken",
)  # fmt: skip
OTHER_FILE = Problem(
    "file names in the XML that are another image's", "repairs",
    "the image with the name of the XML file is taken",
)  # fmt: skip
LISTED_IN_SET = Problem("images listed twice", "drops", "each is used once; correct the list")
SAME_IMAGE = Problem(
    "XML files of an image that has another one", "drops",
    "the file with the name of the image is read; merge or remove the others",
)  # fmt: skip

DELETED = Problem(
    "objects that are marked as deleted", "drops", "remove them, or the mark of LabelMe"
)


def read_voc(names: Path, xml_folders: Sequence[Path], images: Path, tally: Tally) -> Record:
    """Read the records of one split in COCO's format; `tally` counts repaired input.

    Args:
        names: the list of the split's images (ImageSets/Main/train.txt; their XML files are in the
            first folder), or the folder of the split's XML files.
        xml_folders: XML folders of all splits, whose class names together define the labels. If
            they have only folders, these may have the names of folders of images.
        images: folder of the image files.

    Raises:
        ValueError: a file is damaged, or a split to train on or to evaluate with has no object.
    """
    read = _read_all(xml_folders, names, tally)
    classes = sorted({each.name for file in read.values() for each in file.objects})
    label_of = {name: label for label, name in enumerate(classes, start=1)}
    content: Record = {"images": [], "annotations": []}
    content["categories"] = [{"id": label, "name": name} for name, label in label_of.items()]
    if names.is_dir():
        paths = [path for path in read if path.is_relative_to(names)]
    else:
        paths = listed_files(names, xml_folders[0], read, tally)
    if not paths:
        raise ValueError(f"{names}: there is no image in the list; add their names")
    stored = _ImageNames(images, by_path=any(path.parent not in xml_folders for path in read))
    found = {path: stored.find(read[path].file_name, path, tally) for path in paths}
    file_of = _one_each(found, images, tally)
    sizes = read_sizes([images / file for file in file_of.values()], f"{tally.split} image sizes")
    for (path, file), actual in zip(file_of.items(), sizes, strict=True):
        height, width = _size(read[path], path, images / file, actual, tally)
        image = {"id": len(content["images"]) + 1, "file_name": file}
        content["images"].append({**image, "height": height, "width": width})
        _add_objects(content, read[path], path, label_of, tally)
    if tally.split != "test" and not content["annotations"]:
        raise ValueError(
            f"{names}: the split {tally.split!r} has {len(paths)} images, but none of their XML "
            "files has an object; annotate some"
        )
    return content


def find_images_of(xml: Path, base: Path, inner: Sequence[str] = ()) -> Path:
    """Find the folder of the images of an XML folder: beside it, above it or the same.

    `inner` names the folder of a split below it, if the XML folder is divided too.
    """
    beside = folders_named(base, ("jpegimages", *IMAGE_FOLDERS))
    places = [path / name for path in beside for name in inner] + beside
    places += [base / name for name in inner]
    for place in (*places, xml, base):
        if place.is_dir() and any(is_image_file(entry.name) for entry in os.scandir(place)):
            return place
    below = (place for place in places if any(map(is_image_file, files_below(place))))
    return next(below, None) or next((place for place in places if place.is_dir()), xml)


def xml_files(folder: Path) -> list[Path]:
    """List the XML files of a folder, or else of the folders below it."""
    return [folder / name for name in _files_of(folder, lambda n: n.lower().endswith(XML_SUFFIX))]


def _files_of(folder: Path, is_wanted: Callable[[str], bool]) -> list[str]:
    """List the visible files of a folder, or else those below it, by relative paths."""
    top = os.listdir(folder) if folder.is_dir() else []
    below = (path.relative_to(folder).as_posix() for path in files_below(folder))
    for names in (top, below):
        found = [each for each in names if is_wanted(each) and not is_hidden(PurePosixPath(each))]
        if found:
            return sorted(found)
    return []


def _read_all(folders: Sequence[Path], names: Path, tally: Tally) -> dict[Path, VocFile]:
    """Read the XML files of all splits; those that are no annotations are counted."""
    read: dict[Path, VocFile] = {}
    others: dict[Path, str] = {}
    for folder in folders:
        for path in xml_files(folder):
            root = parse_xml(path)
            if root.tag == "annotation":
                read[path] = read_annotation(root, path)
            else:
                others[path] = root.tag
    for path, tag in others.items():
        text = f"{path}: the root element is <{tag}>, not <annotation>"
        if not read:
            raise ValueError(f"{text}; export the data set in Pascal VOC's format")
        if path.is_relative_to(names) or not names.is_dir():
            tally.add(NO_ANNOTATION, text)
    return read


def listed_files(
    names: Path, folder: Path, files: Mapping[Path, VocFile], tally: Tally
) -> list[Path]:
    """Return the XML files of the images that a list names, one per line.

    A name may have spaces, folders and the suffix of an image. A list of a class marks images
    without it by -1, the others by 0 or 1.
    """
    paths = {one_form(path.relative_to(folder).with_suffix("").as_posix()): path for path in files}
    file_of = _with_last_parts(paths)
    rows = []
    for number, line in enumerate(one_form(read_text_file(names)).split("\n"), start=1):
        if line.strip():
            flagged = FLAGGED.fullmatch(line.strip())
            plain = line if line in file_of else _stem(line, file_of)
            rows.append((number, line.strip(), plain, flagged))
    all_plain = all(plain in file_of for _, _, plain, _ in rows)
    all_flagged = all(
        flagged is not None and _stem(flagged[1], file_of) in file_of for _, _, _, flagged in rows
    )
    found: dict[Path, None] = {}
    for number, line, plain, flagged in rows:
        has_flag = flagged is not None and not all_plain and (all_flagged or plain not in file_of)
        name, flag = (flagged[1], flagged[2]) if flagged is not None and has_flag else (line, "1")
        path = file_of.get(plain) if name == line else file_of.get(_stem(name, file_of))
        if flag == "-1":
            continue
        if path is None:
            raise ValueError(
                f"{names}, line {number}: lists the image {line}, but "
                f"{folder / (_stem(name, file_of) + XML_SUFFIX)} does not exist; add it or remove "
                "the line"
            )
        if path in found:
            tally.add(LISTED_IN_SET, f"{names}, line {number}: {line}", line)
        found[path] = None
    return list(found)


def _stem(name: str, known: Collection[str]) -> str:
    """Return an image's name as it is known, without some of its folders and suffix."""
    parts = name.strip().replace("\\", "/").split("/")
    tails = ("/".join(parts[start:]) for start in range(len(parts)))
    forms = [form for tail in tails for form in (tail, _without_suffix(tail))]
    return next((form for form in forms if form in known), forms[-1])


def _without_suffix(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() == XML_SUFFIX else without_image_suffix(name)


def _with_last_parts(items: Mapping[str, Item]) -> dict[str, Item]:
    """Add to items by path those by its last part, where only one has it."""
    last = {path: path.rpartition("/")[2] for path in items}
    counts = Counter(last.values())
    return {**{last[p]: each for p, each in items.items() if counts[last[p]] == 1}, **items}


class _ImageNames:
    """The image files of a folder, by name and by stem in any case.

    Args:
        by_path: XML files are in folders of the same names as those of the images.
    """

    def __init__(self, folder: Path, *, by_path: bool) -> None:
        self.folder = folder
        names: dict[str, str] = {}
        by_stem: dict[str, str] = {}
        for name in _files_of(folder, is_image_file):
            names.setdefault(_key(name), name)
            by_stem.setdefault(_key(os.path.splitext(name)[0]), name)
        self.names = names if by_path else _with_last_parts(names)
        self.by_stem = by_stem if by_path else _with_last_parts(by_stem)

    def find(self, stated: str, path: Path, tally: Tally) -> str:
        """Return the image of an XML file: the one of its own name, or the stated one."""
        forms = ("/".join((*path.parts[start:-1], stated)) for start in range(len(path.parts)))
        existing = next((self.names[key] for key in map(_key, forms) if key in self.names), None)
        if stated and os.path.isfile(self.folder / stated):
            existing = stated
        parts = (*path.parts[:-1], path.stem)
        tails = (_key("/".join(parts[start:])) for start in range(len(parts)))
        own = next((self.by_stem[tail] for tail in tails if tail in self.by_stem), None)
        stem, suffix = os.path.splitext(stated)
        if existing is not None and (own is None or _key(stem) == _key(path.stem)):
            return existing
        if own is not None:
            if existing is not None:
                tally.add(OTHER_FILE, f"{path}: {stated}", own)
            return own
        without = stem if is_image_file(stated) or not suffix else stated
        return self.by_stem.get(_key(without), stated or f"{path.stem}.jpg")


def _key(name: str) -> str:
    """Return what is equal for the names of one file on any system."""
    return one_form(name).lower()


def _one_each(file_of: Mapping[Path, str], folder: Path, tally: Tally) -> dict[Path, str]:
    """Leave out all but one XML file of an image: that of its name, or else the first."""

    def has_other_name(path: Path) -> bool:
        return _key(path.stem) != _key(PurePosixPath(file_of[path]).stem)

    chosen: dict[str, Path] = {}
    others = set()
    for path in sorted(file_of, key=has_other_name):
        file = file_of[path]
        if chosen.setdefault(file, path) != path and os.path.isfile(folder / file):
            tally.add(SAME_IMAGE, f"{path}: {file}", file)
            others.add(path)
    return {path: file for path, file in file_of.items() if path not in others}


def _add_objects(
    content: Record, file: VocFile, path: Path, label_of: Mapping[str, int], tally: Tally
) -> None:
    """Add the objects of the last image."""
    for number in file.deleted:
        tally.add(DELETED, f"{path}, object {number}")
    for each in file.objects:
        # VOC itself has no polygons
        shift = float(file.counts_from_one and FROM_POLYGON not in each.problems)
        place = f"{path}, object {each.number} ({each.name})"
        if each.error:
            raise ValueError(f"{place}: {each.error}")
        for problem in each.problems:
            tally.add(problem, place)
        for x1, y1, x2, y2 in each.boxes:
            x1, y1 = x1 - shift, y1 - shift
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": content["images"][-1]["id"],
                    "category_id": label_of[each.name],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(each.is_difficult),
                }
            )


def _size(
    file: VocFile, path: Path, image: Path, actual: tuple[int, int] | ImageError, tally: Tally
) -> tuple[float, float]:
    """Height and width in the XML file; those of the image where they are damaged."""
    height, width = file.height, file.width
    if isinstance(actual, ImageError):
        if height and width and min(height, width) > 0:
            return height, width  # the check of the images reports it
        raise ValueError(f"{path}: has no size of the image, and {actual}") from actual
    if height is None or width is None or min(height, width) <= 0:
        tally.add(SIZES, str(path), image.name)
    elif (height, width) == actual[::-1] != actual and not _is_turned(image):
        tally.add(TURNED, str(path), image.name)
    else:
        return height, width
    return actual


def _is_turned(image: Path) -> bool:
    """Whether EXIF turns an image by a quarter; boxes may refer to the stored pixels."""
    with open_image(image) as file:
        return orientation_of(file) in ROTATED
