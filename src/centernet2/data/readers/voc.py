"""Read Pascal VOC's XML files as records in COCO's format.

Everingham et al., IJCV 2010; the devkit describes the files. VOC counts pixels from 1, and the last
pixel is inside the box. Other tools write plain coordinates into such XML files, and do not name
VOC as the source.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from centernet2.data.findings import Problem, Tally
from centernet2.data.image_check import read_sizes
from centernet2.data.readers.image_folders import IMAGE_FOLDERS, folders_named
from centernet2.data.readers.json_records import Record
from centernet2.data.readers.voc_xml import FROM_POLYGON, VocFile, read_annotation
from centernet2.data.readers.xml_text import XML_SUFFIX, parse_xml
from centernet2.files import is_image_file, one_form, without_image_suffix
from centernet2.images.heif import open_image
from centernet2.images.image_files import ROTATED, ImageError, orientation_of
from centernet2.text_files import read_text_file

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

    Raises:
        ValueError: a file is damaged, or a split to train on or to evaluate with has no object.

    Args:
        names: the list of the split's images (ImageSets/Main/train.txt; their XML files are in the
            first folder), or the folder of the split's XML files.
        xml_folders: XML folders of all splits, whose class names together define the labels.
        images: folder of the image files.
    """
    read = _read_all(xml_folders, names, tally)
    classes = sorted({each.name for file in read.values() for each in file.objects})
    label_of = {name: label for label, name in enumerate(classes, start=1)}
    content: Record = {"images": [], "annotations": []}
    content["categories"] = [{"id": label, "name": name} for name, label in label_of.items()]
    if names.is_dir():
        paths = [path for path in read if path.parent == names]
    else:
        paths = listed_files(names, xml_folders[0], read, tally)
    if not paths:
        raise ValueError(f"{names}: there is no image in the list; add their names")
    stored = _ImageNames(images)
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
    return next((place for place in places if place.is_dir()), xml)


def _read_all(folders: Sequence[Path], names: Path, tally: Tally) -> dict[Path, VocFile]:
    """Read the XML files of all splits; those that are no annotations are counted."""
    read: dict[Path, VocFile] = {}
    others: dict[Path, str] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() == XML_SUFFIX and not path.name.startswith("."):
                root = parse_xml(path)
                if root.tag == "annotation":
                    read[path] = read_annotation(root, path)
                else:
                    others[path] = root.tag
    for path, tag in others.items():
        text = f"{path}: the root element is <{tag}>, not <annotation>"
        if not read:
            raise ValueError(f"{text}; export the data set in Pascal VOC's format")
        if path.parent == names or not names.is_dir():
            tally.add(NO_ANNOTATION, text)
    return read


def listed_files(
    names: Path, folder: Path, files: Mapping[Path, VocFile], tally: Tally
) -> list[Path]:
    """Return the XML files of the images that a list names, one per line.

    A name may have spaces, folders and the suffix of an image. A list of a class marks images
    without it by -1, the others by 0 or 1.
    """
    file_of = {one_form(path.stem): path for path in files if path.parent == folder}
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


def _stem(name: str, known: Mapping[str, Path]) -> str:
    """Return an image's name without folders and, if unknown with it, without suffix."""
    last = name.strip().replace("\\", "/").rsplit("/", 1)[-1]
    if last in known:
        return last
    stem, suffix = os.path.splitext(last)
    return stem if suffix.lower() == XML_SUFFIX else without_image_suffix(last)


class _ImageNames:
    """The image files of a folder, by name and by stem in any case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, str] = {}
        self.by_stem: dict[str, str] = {}
        entries = os.scandir(folder) if folder.is_dir() else ()
        for name in sorted(entry.name for entry in entries):
            if is_image_file(name) and not name.startswith("."):
                self.names.setdefault(_key(name), name)
                self.by_stem.setdefault(_key(os.path.splitext(name)[0]), name)

    def find(self, stated: str, path: Path, tally: Tally) -> str:
        """Return the image of an XML file: the one of its own name, or the stated one."""
        existing = self.names.get(_key(stated))
        if (self.folder / stated).is_file() and stated:
            existing = stated
        own = self.by_stem.get(_key(path.stem))
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
        return _key(path.stem) != _key(os.path.splitext(file_of[path])[0])

    chosen: dict[str, Path] = {}
    others = set()
    for path in sorted(file_of, key=has_other_name):
        file = file_of[path]
        if chosen.setdefault(file, path) != path and (folder / file).is_file():
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
