"""Read Pascal VOC's XML files as records in COCO's format.

Everingham et al., IJCV 2010; the devkit describes the files. VOC counts pixels from 1, and the last
pixel is inside the box. Other tools write plain coordinates into such XML files, and do not name
VOC as the source.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from centernet2.data.image import image_size
from centernet2.data.readers.json_records import Record
from centernet2.files import IMAGE_SUFFIXES


def read_voc(names: Path, xml_folders: Sequence[Path], images: Path) -> Record:
    """Read the records of one split, in COCO's format.

    Args:
        names: the list of the split's images (ImageSets/Main/train.txt; their XML files are in the
            first folder), or the folder of the split's XML files.
        xml_folders: XML folders of all splits, whose class names together define the labels.
        images: folder of the image files.
    """
    roots = {path: _parse(path) for folder in xml_folders for path in sorted(folder.glob("*.xml"))}
    classes = sorted(
        {_text(item, "name", path) for path, root in roots.items() for item in root.iter("object")}
    )
    label_of = {name: label for label, name in enumerate(classes, start=1)}
    content: Record = {"images": [], "annotations": []}
    content["categories"] = [{"id": label, "name": name} for name, label in label_of.items()]
    if names.is_dir():
        paths = [path for path in roots if path.parent == names]
    else:
        paths = [xml_folders[0] / f"{name}.xml" for name in _listed(names)]
    for path in paths:
        if path not in roots:
            raise ValueError(
                f"{names}: lists the image {path.stem}, but {path} does not exist; add it"
            )
        _add(content, roots[path], path, images, label_of)
    return content


def _add(
    content: Record, root: ET.Element, path: Path, images: Path, label_of: dict[str, int]
) -> None:
    file = _image_file(root, path, images)
    image_id = len(content["images"]) + 1
    height, width = _size(root, images / file)
    content["images"].append({"id": image_id, "file_name": file, "height": height, "width": width})
    shift = 1.0 if _counts_from_one(root) else 0.0
    for item in root.iter("object"):
        x1, y1, x2, y2 = _corners(item, path)
        x1, y1 = x1 - shift, y1 - shift
        content["annotations"].append(
            {
                "id": len(content["annotations"]) + 1,
                "image_id": image_id,
                "category_id": label_of[_text(item, "name", path)],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": int(item.findtext("difficult", "0").strip() == "1"),
            }
        )


def _parse(path: Path) -> ET.Element:
    try:
        return ET.parse(path).getroot()
    except (ET.ParseError, OSError) as error:
        raise ValueError(f"{path}: not an XML file ({error}); export or remove it") from error


def _listed(names: Path) -> Sequence[str]:
    """Names of images, one per line; lists of a class mark images without it by -1."""
    rows = [line.split() for line in names.read_text(encoding="utf-8").splitlines()]
    return [row[0] for row in rows if row and row[1:] != ["-1"]]


def _image_file(root: ET.Element, path: Path, images: Path) -> str:
    """The file name in the XML file, or an image file with its stem."""
    stated = root.findtext("filename", "").strip().replace("\\", "/").rsplit("/", 1)[-1]
    for name in (stated, *(path.stem + suffix for suffix in IMAGE_SUFFIXES)):
        if name and (images / name).is_file():
            return name
    return stated or f"{path.stem}.jpg"


def _size(root: ET.Element, image: Path) -> tuple[float, float]:
    """Height and width in the XML file, or of the image file if they are 0 there."""
    height, width = (float(root.findtext(f"size/{key}") or 0) for key in ("height", "width"))
    return (height, width) if height > 0 and width > 0 else image_size(image)


def _counts_from_one(root: ET.Element) -> bool:
    source = root.findtext("source/database", "") + " " + root.findtext("folder", "")
    return re.search(r"\bVOC(20\d\d)?\b", source) is not None


def _corners(item: ET.Element, path: Path) -> list[float]:
    try:
        return [
            float(item.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")
        ]
    except ValueError as error:
        name = item.findtext("name", "without name")
        raise ValueError(
            f"{path}: the object {name!r} has no bndbox of four numbers; correct it"
        ) from error


def _text(item: ET.Element, key: str, path: Path) -> str:
    text = item.findtext(key, "").strip()
    if not text:
        raise ValueError(f"{path}: an object has no {key!r}; add it")
    return text
