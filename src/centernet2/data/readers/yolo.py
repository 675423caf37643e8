"""Read YOLO's text files as records in COCO's format.

A line of labels/NAME.txt is a class number, then the box's center, width and height, or the points
of a polygon, all as shares of the image's width and height.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from centernet2.data.image import image_size
from centernet2.data.readers.json_records import Record
from centernet2.files import is_image_file


class YoloFile(NamedTuple):
    """Content of a data.yaml file."""

    classes: dict[int, str]  # name by number
    splits: dict[str, tuple[Path, ...]]  # folders of images, or text files that list images


def read_yaml(path: Path) -> YoloFile | None:
    """Read a data.yaml file; None if the file is something else."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    if (
        not isinstance(content, dict)
        or "names" not in content
        or not {"train", "val", "test"} & content.keys()
    ):
        return None
    names = content["names"]
    if not isinstance(names, list | dict):
        raise ValueError(
            f"{path}: 'names' is neither a list nor a mapping of class names; correct it"
        )
    classes = (
        dict(enumerate(names))
        if isinstance(names, list)
        else {int(key): name for key, name in names.items()}
    )
    root = path.parent / str(content.get("path") or ".")
    splits = {}
    for split in ("train", "val", "test"):
        places = content.get(split) or ()
        splits[split] = tuple(
            _place(str(p), root, path) for p in ([places] if isinstance(places, str) else places)
        )
    return YoloFile(
        {key: str(name) for key, name in classes.items()}, {k: v for k, v in splits.items() if v}
    )


def _place(text: str, root: Path, file: Path) -> Path:
    """Path of a split, relative to `path` or to the file; some exports add a ../."""
    candidates = [root / text, file.parent / text, file.parent / text.removeprefix("../")]
    return next((place for place in candidates if place.exists()), candidates[0])


def read_class_list(path: Path) -> dict[int, str]:
    """Read the names of classes, one per line (classes.txt, obj.names)."""
    return dict(
        enumerate(
            line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
        )
    )


def read_yolo(classes: dict[int, str], places: Sequence[Path], root: Path) -> Record:
    """Read the records of one split, in COCO's format.

    File names are relative to `root`; class numbers are category ids.
    """
    content: Record = {"images": [], "annotations": []}
    content["categories"] = [
        {"id": number, "name": name} for number, name in sorted(classes.items())
    ]
    for image in (image for place in places for image in list_images(place)):
        height, width = image_size(image)
        image_id = len(content["images"]) + 1
        file_name = str(image.relative_to(root))
        content["images"].append(
            {"id": image_id, "file_name": file_name, "height": height, "width": width}
        )
        for annotation in _read_labels(label_file(image), classes, height, width):
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": image_id,
                    "iscrowd": 0,
                    **annotation,
                }
            )
    return content


def list_images(place: Path) -> list[Path]:
    """List the images below a folder, or in a text file."""
    if place.is_dir():
        return sorted(path for path in place.rglob("*") if is_image_file(path))
    if not place.is_file():
        raise FileNotFoundError(
            f"{place}: the images of a split do not exist; correct the paths in data.yaml"
        )
    lines = (line.strip() for line in place.read_text(encoding="utf-8").splitlines())
    return [place.parent / line for line in lines if line]


def label_file(image: Path) -> Path:
    """Return the label file of images/a/b.jpg: labels/a/b.txt, or beside the image."""
    parts = list(image.parent.parts)
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        moved = Path(*parts[:last], "labels", *parts[last + 1 :]) / f"{image.stem}.txt"
        if moved.parent.is_dir():
            return moved
    return image.with_suffix(".txt")


def _read_labels(path: Path, classes: dict[int, str], height: int, width: int) -> list[Record]:
    """Read the objects of one image; an image without a label file has none."""
    if not path.is_file():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            records.append(_read_line(line.split(), classes, height, width))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    return records


def _read_line(words: Sequence[str], classes: dict[int, str], height: int, width: int) -> Record:
    try:
        label, *shares = (float(word) for word in words)
    except ValueError:
        raise ValueError("has a word that is not a number; correct it") from None
    if label not in classes:
        raise ValueError(
            f"names class {words[0]}, but data.yaml has {len(classes)} classes; correct one of them"
        )
    if len(shares) == 4:
        x, y, w, h = shares[0] * width, shares[1] * height, shares[2] * width, shares[3] * height
        return {"category_id": int(label), "bbox": [x - w / 2, y - h / 2, w, h], "area": w * h}
    if len(shares) < 6 or len(shares) % 2:
        raise ValueError(
            f"has {len(shares)} numbers after the class; a box has 4, a polygon at least 3 points"
        )
    xs, ys = [x * width for x in shares[0::2]], [y * height for y in shares[1::2]]
    box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    polygon = [number for point in zip(xs, ys, strict=True) for number in point]
    return {
        "category_id": int(label),
        "bbox": box,
        "area": _area(xs, ys),
        "segmentation": [polygon],
    }


def _area(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Area of a polygon (shoelace formula)."""
    pairs = zip(xs, ys, [*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
    return abs(sum(x * next_y - next_x * y for x, y, next_x, next_y in pairs)) / 2
