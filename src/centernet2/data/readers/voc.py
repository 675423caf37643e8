"""Read Pascal VOC's XML files as records in COCO's format.

Everingham et al., IJCV 2010; the devkit describes the files. VOC counts pixels from 1, and the last
pixel is inside the box. Other tools write plain coordinates into such XML files, and do not name
VOC as the source.
"""

import math
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image

from centernet2.data.findings import Problem, Tally
from centernet2.data.image import ROTATED, ImageError, orientation_of
from centernet2.data.image_check import read_sizes
from centernet2.data.readers.image_folders import IMAGE_FOLDERS, folders_named
from centernet2.data.readers.json_records import Record
from centernet2.data.readers.xml_text import XML_SUFFIX, parse_xml
from centernet2.files import is_image_file, read_text_file

XML_FOLDERS = ("annotations", "annotation", "labels", "xmls", "xml")  # in lower case
CORNERS = ("xmin", "ymin", "xmax", "ymax")
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
EXCHANGED = Problem("boxes whose corners are exchanged", "repairs", "write xmin below xmax")
SEVERAL = Problem("objects with several boxes", "repairs", "each box is read as an object")
FROM_POLYGON = Problem(
    "objects with a polygon or a rotated box alone", "repairs", "its enclosing box is read"
)
OTHER_FILE = Problem(
    "file names in the XML that are another image's", "repairs",
    "the image with the name of the XML file is taken",
)  # fmt: skip
LISTED_TWICE = Problem("images listed twice", "drops", "each is used once; correct the list")
SAME_IMAGE = Problem(
    "XML files of an image that has another one", "drops",
    "the file with the name of the image is read; merge or remove the others",
)  # fmt: skip
Box = tuple[float, float, float, float]  # x1, y1, x2, y2


def read_voc(names: Path, xml_folders: Sequence[Path], images: Path, tally: Tally) -> Record:
    """Read the records of one split, in COCO's format; repaired input is counted in `tally`.

    Raises:
        ValueError: a file is damaged, or a split to train on or to evaluate with has no object.

    Args:
        names: the list of the split's images (ImageSets/Main/train.txt; their XML files are in the
            first folder), or the folder of the split's XML files.
        xml_folders: XML folders of all splits, whose class names together define the labels.
        images: folder of the image files.
    """
    roots = _parse_all(xml_folders, names, tally)
    classes = sorted(
        {_name(item, n, path) for path, root in roots.items() for n, item in _objects(root)}
    )
    label_of = {name: label for label, name in enumerate(classes, start=1)}
    content: Record = {"images": [], "annotations": []}
    content["categories"] = [{"id": label, "name": name} for name, label in label_of.items()]
    if names.is_dir():
        paths = [path for path in roots if path.parent == names]
    else:
        paths = listed_files(names, xml_folders[0], roots, tally)
    if not paths:
        raise ValueError(f"{names}: there is no image in the list; add their names")
    stored = _ImageNames(images)
    found = {path: stored.find(roots[path], path, tally) for path in paths}
    file_of = _one_each(found, images, tally)
    sizes = read_sizes([images / file for file in file_of.values()], f"{tally.split} image sizes")
    for (path, file), actual in zip(file_of.items(), sizes, strict=True):
        size = _size(roots[path], path, images / file, actual, tally)
        _add(content, roots[path], path, file, size, label_of, tally)
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


def _parse_all(folders: Sequence[Path], names: Path, tally: Tally) -> dict[Path, ET.Element]:
    """Read the XML files of all splits; those that are no annotations are counted, if few."""
    roots: dict[Path, ET.Element] = {}
    others: dict[Path, ET.Element] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() == XML_SUFFIX and not path.name.startswith("."):
                root = parse_xml(path)
                (roots if root.tag == "annotation" else others)[path] = root
    for path, root in others.items():
        text = f"{path}: the root element is <{root.tag}>, not <annotation>"
        if not roots:
            raise ValueError(f"{text}; export the data set in Pascal VOC's format")
        if path.parent == names or not names.is_dir():
            tally.add(NO_ANNOTATION, text)
    return roots


def listed_files(
    names: Path, folder: Path, files: Mapping[Path, ET.Element], tally: Tally
) -> list[Path]:
    """Return the XML files of the images that a list names, one per line.

    A name may have spaces, folders and the suffix of an image. A list of a class marks images
    without it by -1, the others by 0 or 1.
    """
    file_of = {path.stem: path for path in files if path.parent == folder}
    rows = []
    for number, line in enumerate(read_text_file(names).split("\n"), start=1):
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
            tally.add(LISTED_TWICE, f"{names}, line {number}: {line}", line)
        found[path] = None
    return list(found)


def _stem(name: str, known: Mapping[str, Path]) -> str:
    """Return the name of an image without folders and, if it is not known with it, suffix."""
    last = name.strip().replace("\\", "/").rsplit("/", 1)[-1]
    if last in known:
        return last
    stem, suffix = os.path.splitext(last)
    return stem if is_image_file(last) or suffix.lower() == XML_SUFFIX else last


class _ImageNames:
    """The image files of a folder, by name and by stem in any case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, str] = {}
        self.by_stem: dict[str, str] = {}
        entries = os.scandir(folder) if folder.is_dir() else ()
        for name in sorted(entry.name for entry in entries):
            if is_image_file(name) and not name.startswith("."):
                self.names.setdefault(name.lower(), name)
                self.by_stem.setdefault(os.path.splitext(name)[0].lower(), name)

    def find(self, root: ET.Element, path: Path, tally: Tally) -> str:
        """Return the image of an XML file: the one of its own name, or the stated one."""
        stated = root.findtext("filename", "").strip().replace("\\", "/").rsplit("/", 1)[-1]
        existing = self.names.get(stated.lower())
        if (self.folder / stated).is_file() and stated:
            existing = stated
        own = self.by_stem.get(path.stem.lower())
        stem, suffix = os.path.splitext(stated)
        if existing is not None and (own is None or stem.lower() == path.stem.lower()):
            return existing
        if own is not None:
            if existing is not None:
                tally.add(OTHER_FILE, f"{path}: {stated}", own)
            return own
        without = stem if is_image_file(stated) or not suffix else stated
        return self.by_stem.get(without.lower(), stated or f"{path.stem}.jpg")


def _one_each(file_of: Mapping[Path, str], folder: Path, tally: Tally) -> dict[Path, str]:
    """Leave out all XML files of an image but one: that with its name, or else the first."""

    def has_other_name(path: Path) -> bool:
        return path.stem.lower() != os.path.splitext(file_of[path])[0].lower()

    chosen: dict[str, Path] = {}
    others = set()
    for path in sorted(file_of, key=has_other_name):
        file = file_of[path]
        if chosen.setdefault(file, path) != path and (folder / file).is_file():
            tally.add(SAME_IMAGE, f"{path}: {file}", file)
            others.add(path)
    return {path: file for path, file in file_of.items() if path not in others}


def _add(
    content: Record,
    root: ET.Element,
    path: Path,
    file: str,
    size: tuple[float, float],
    label_of: Mapping[str, int],
    tally: Tally,
) -> None:
    image_id = len(content["images"]) + 1
    height, width = size
    content["images"].append({"id": image_id, "file_name": file, "height": height, "width": width})
    shift = 1.0 if _counts_from_one(root) else 0.0
    for number, item in _objects(root):
        for x1, y1, x2, y2 in _boxes(item, number, path, tally):
            x1, y1 = x1 - shift, y1 - shift
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": label_of[_name(item, number, path)],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(_is_true(item.findtext("difficult", ""))),
                }
            )


def _objects(root: ET.Element) -> Iterator[tuple[int, ET.Element]]:
    """Number the objects, without those that LabelMe marks as deleted."""
    for number, item in enumerate(root.iter("object"), start=1):
        if not _is_true(item.findtext("deleted", "")):
            yield number, item


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("1", "1.0", "true", "yes")


def _size(
    root: ET.Element, path: Path, image: Path, actual: tuple[int, int] | ImageError, tally: Tally
) -> tuple[float, float]:
    """Height and width in the XML file, or of the image file if they are damaged there."""
    stated = [_number(root.findtext(f"size/{key}", "")) for key in ("height", "width")]
    height, width = stated
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
    """Whether EXIF turns an image by a quarter: boxes may refer to the pixels as stored."""
    with Image.open(image) as file:
        return orientation_of(file) in ROTATED


def _counts_from_one(root: ET.Element) -> bool:
    source = root.findtext("source/database", "") + " " + root.findtext("folder", "")
    return re.search(r"\bVOC(20\d\d)?\b", source) is not None


def _boxes(item: ET.Element, number: int, path: Path, tally: Tally) -> Iterator[Box]:
    """Yield the boxes of an object, usually one."""
    place = f"{path}, object {number} ({item.findtext('name', '').strip()})"
    boxes = [_corners(box, place) for box in item.findall("bndbox")]
    if not boxes:
        boxes = [_enclosing(item, place)]
        tally.add(FROM_POLYGON, place)
    for number_of_box, (x1, y1, x2, y2) in enumerate(boxes):
        if number_of_box == 1:
            tally.add(SEVERAL, place)
        if x1 > x2 or y1 > y2:
            tally.add(EXCHANGED, place)
        yield min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _corners(box: ET.Element, place: str) -> Box:
    numbers = []
    for key in CORNERS:
        text = box.findtext(key)
        number = _number(text or "")
        if number is None:
            problem = "is missing" if text is None else f"is {text.strip()!r}, not a number"
            raise ValueError(f"{place}: the <{key}> of its bndbox {problem}; correct it")
        numbers.append(number)
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _enclosing(item: ET.Element, place: str) -> Box:
    """Return the box around the polygon or the rotated box of an object."""
    rotated = item.find("robndbox")
    if rotated is not None:
        values = [_number(rotated.findtext(key, "")) for key in ("cx", "cy", "w", "h", "angle")]
        x, y, w, h, angle = (math.nan if value is None else value for value in values)
        a = (w * abs(math.cos(angle)) + h * abs(math.sin(angle))) / 2
        b = (w * abs(math.sin(angle)) + h * abs(math.cos(angle))) / 2
        points = [(x - a, y - b), (x + a, y + b)]
    else:
        points = [point for polygon in item.iter("polygon") for point in _polygon(polygon)]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if not points or not all(map(math.isfinite, (*xs, *ys))):
        raise ValueError(f"{place}: it has no bndbox of four numbers; correct or remove it")
    return min(xs), min(ys), max(xs), max(ys)


def _polygon(polygon: ET.Element) -> Iterator[tuple[float, float]]:
    """Yield the points <pt><x/><y/></pt> or <x1/><y1/>, <x2/><y2/> of a polygon."""
    pairs = [(point.findtext("x", ""), point.findtext("y", "")) for point in polygon.iter("pt")]
    k = 1
    while polygon.find(f"x{k}") is not None:
        pairs.append((polygon.findtext(f"x{k}", ""), polygon.findtext(f"y{k}", "")))
        k += 1
    for pair in pairs:
        x, y = (math.nan if value is None else value for value in map(_number, pair))
        yield x, y


def _number(text: str) -> float | None:
    """Return a finite number; None for other texts."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _name(item: ET.Element, number: int, path: Path) -> str:
    text = item.findtext("name", "").strip()
    if not text:
        raise ValueError(f"{path}: object {number} has no 'name' of its class; add it")
    return text
