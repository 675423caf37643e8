"""Write data sets in the layouts of COCO, YOLO and Pascal VOC.

COCO's format keeps everything. For YOLO, crowds are left out, masks of several parts become boxes,
and boxes and masks are clipped to their image. For Pascal VOC, masks are left out, crowds are
marked as difficult, and classes are numbered in the order of their names.
"""

import os
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from centernet2.data.dataset import DetectionDataset
from centernet2.files import irregular_kind, is_image_file, write_json

DIGITS = 4  # decimals of pixel coordinates
BOX_NUMBERS = 4  # after the class, in a row of YOLO
# in names of files: what lists, XML or UTF-8 cannot hold, and what makes a file one of the system's
UNSAFE_IN_NAMES = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]|^\.|^__MACOSX$"
)
NOT_IN_XML = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]")  # a carriage return becomes a newline
DatasetWriter = Callable[[DetectionDataset, Path, str], None]


def require_writable(dataset: DetectionDataset, layout: str) -> None:
    """Raise ValueError if an image or a class cannot be written in a layout.

    Call it for all splits before the first is written.
    """
    for i in range(len(dataset)):
        path = dataset.image_path(i)
        kind = irregular_kind(path) or ("" if os.path.exists(path) else "missing")
        if kind:
            raise ValueError(
                f"{dataset.name}: the image {dataset.file_name(i)} is {kind}; leave it out, as "
                "`centernet2 check DATA --fix OUT.json` does"
            )
        if layout != "coco" and not is_image_file(path):
            raise ValueError(
                f"{dataset.name}: the image {dataset.file_name(i)} does not end like an image, and "
                f"the layout of {layout} knows images by their suffix; rename it, or use --to coco"
            )
    for name in dataset.class_names if layout == "voc" else ():
        if NOT_IN_XML.search(name):
            raise ValueError(
                f"{dataset.name}: the class {name!r} has a character that XML cannot hold; rename "
                "it with --class-map"
            )


def omissions(dataset: DetectionDataset, layout: str) -> Iterator[str]:
    """Say what of a data set a layout cannot hold."""
    if layout == "yolo":
        single = np.flatnonzero(dataset.masked & ~dataset.crowd).tolist()
        boxes = sum(_only_polygon(dataset, row) is None for row in single)
        if dataset.crowd.any():
            yield f"crowds (iscrowd 1, or difficult) are left out: {dataset.crowd.sum()}"
        if boxes:
            yield f"masks of several parts or of run lengths become boxes: {boxes}"
    if layout == "voc" and dataset.masked.any():
        yield f"masks are left out: {dataset.masked.sum()}"


def write_coco(dataset: DetectionDataset, output: Path, split: str) -> None:
    """Write images/SPLIT/... and annotations/instances_SPLIT.json."""
    names = _copy_images(
        dataset, output / "images" / split, [_relative(dataset, i) for i in range(len(dataset))]
    )
    path = output / "annotations" / f"instances_{split}.json"
    write_json(path, coco_content(dataset, [f"{split}/{name}" for name in names]))


def coco_content(dataset: DetectionDataset, names: Sequence[str]) -> dict[str, Any]:
    """Return a data set in COCO's format; `names` has the file name of each image."""
    images = [
        {"id": dataset.image_id(i), "file_name": name, "height": height, "width": width}
        for i, name in enumerate(names)
        for height, width in [dataset.size(i)]
    ]
    annotations = [record for i in range(len(dataset)) for record in _annotations(dataset, i)]
    categories = [
        {"id": number, "name": name}
        for number, name in zip(dataset.category_ids, dataset.class_names, strict=True)
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_yolo(dataset: DetectionDataset, output: Path, split: str) -> None:
    """Write images/SPLIT/... and labels/SPLIT/..., and add the split to data.yaml."""
    names = _copy_images(
        dataset, output / "images" / split, [_relative(dataset, i) for i in range(len(dataset))]
    )
    has_polygons = False
    for i, name in enumerate(names):
        path = (output / "labels" / split / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = list(_yolo_lines(dataset, i))
        has_polygons = has_polygons or any(line.count(" ") > BOX_NUMBERS for line in lines)
        path.write_text("".join(f"{line}\n" for line in lines))
    path = output / "data.yaml"
    # without `path`, which some readers take relative to the current folder
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    content |= {split: f"images/{split}", "names": dict(enumerate(dataset.class_names))}
    if has_polygons:
        content["task"] = "segment"  # rows of polygons alone do not always show what they are
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8")


def write_voc(dataset: DetectionDataset, output: Path, split: str) -> None:
    """Write JPEGImages/, Annotations/NAME.xml and ImageSets/Main/SPLIT.txt.

    Folders become part of the file names.
    """
    flat = ["_".join(PurePosixPath(_relative(dataset, i)).parts) for i in range(len(dataset))]
    taken = {path.stem for path in (output / "Annotations").glob("*.xml")}
    names = [f"{split}_{name}" if Path(name).stem in taken else name for name in flat]
    names = _copy_images(dataset, output / "JPEGImages", names, taken)
    for folder in ("Annotations", "ImageSets/Main"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        tree = ET.ElementTree(_voc_image(dataset, i, name))
        ET.indent(tree)
        tree.write(output / "Annotations" / f"{Path(name).stem}.xml", encoding="utf-8")
    lines = "".join(f"{Path(name).stem}\n" for name in names)
    (output / "ImageSets" / "Main" / f"{split}.txt").write_text(lines, encoding="utf-8")


WRITERS: dict[str, DatasetWriter] = {"coco": write_coco, "yolo": write_yolo, "voc": write_voc}


def _relative(dataset: DetectionDataset, i: int) -> str:
    """Path of an image below the data set's folder, with a name any layout can hold."""
    name = PurePosixPath(os.fsdecode(dataset.files[i]))
    parts = name.parts[-1:] if name.is_absolute() or ".." in name.parts else name.parts
    return "/".join(UNSAFE_IN_NAMES.sub("_", part) for part in parts)


def _copy_images(
    dataset: DetectionDataset, folder: Path, names: list[str], taken: Iterable[str] = ()
) -> list[str]:
    """Copy the images, and return their names; `taken` holds names of other splits."""
    names = _with_different_stems(names, taken)
    for i, name in enumerate(names):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(dataset.image_path(i), target)
    return names


def _with_different_stems(names: list[str], taken: Iterable[str]) -> list[str]:
    """Number the names with the same stem, which YOLO and VOC cannot tell apart."""
    paths = [PurePosixPath(name) for name in names]
    given = {str(path.with_suffix("")) for path in paths}
    used, result = set(taken), []
    for path in paths:
        stem = str(path.with_suffix(""))
        if stem in used:
            stem = next(new for k in count(2) if (new := f"{stem}_{k}") not in used | given)
        used.add(stem)
        result.append(stem + path.suffix)
    return result


def _rows(dataset: DetectionDataset, i: int) -> range:
    return range(*dataset.offsets[i : i + 2].tolist())


def _annotations(dataset: DetectionDataset, i: int) -> Iterator[dict[str, Any]]:
    for row in _rows(dataset, i):
        segmentation = dataset.segmentation(row)
        yield {
            "id": row + 1,
            "image_id": dataset.image_id(i),
            "category_id": dataset.category_ids[dataset.labels[row]],
            "bbox": [round(x, DIGITS) for x in dataset.xywh[row].tolist()],
            "area": round(float(dataset.areas[row]), DIGITS),
            "iscrowd": int(dataset.crowd[row]),
            **({} if segmentation is None else {"segmentation": segmentation}),
        }


def _yolo_lines(dataset: DetectionDataset, i: int) -> Iterator[str]:
    height, width = dataset.size(i)
    for row in _rows(dataset, i):
        if dataset.crowd[row]:
            continue
        polygon = _only_polygon(dataset, row)
        if polygon is not None:
            limits = (width, height) * (len(polygon) // 2)
            shares = [min(max(x / limit, 0), 1) for x, limit in zip(polygon, limits, strict=True)]
        else:
            x, y, w, h = dataset.xywh[row].tolist()
            left, right = max(x, 0) / width, min(x + w, width) / width
            top, bottom = max(y, 0) / height, min(y + h, height) / height
            shares = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
        yield " ".join([str(int(dataset.labels[row])), *(f"{share:.8g}" for share in shares)])


def _only_polygon(dataset: DetectionDataset, row: int) -> list[float] | None:
    """Return the polygon of an object; None if it has no mask, or one of another form."""
    segmentation = dataset.segmentation(row)
    is_one = isinstance(segmentation, list) and len(segmentation) == 1
    return segmentation[0] if is_one else None


def _voc_image(dataset: DetectionDataset, i: int, name: str) -> ET.Element:
    height, width = dataset.size(i)
    root = ET.Element("annotation")
    ET.SubElement(root, "filename").text = name
    size = ET.SubElement(root, "size")
    for key, value in {"width": width, "height": height, "depth": 3}.items():
        ET.SubElement(size, key).text = str(value)
    for row in _rows(dataset, i):
        item = ET.SubElement(root, "object")
        ET.SubElement(item, "name").text = dataset.class_names[dataset.labels[row]]
        ET.SubElement(item, "difficult").text = str(int(dataset.crowd[row]))
        box = ET.SubElement(item, "bndbox")
        x, y, w, h = dataset.xywh[row].tolist()
        for key, edge in {"xmin": x, "ymin": y, "xmax": x + w, "ymax": y + h}.items():
            ET.SubElement(box, key).text = str(round(edge, DIGITS))
    return root
