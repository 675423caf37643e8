"""COCO files as other tools write them: a truth, and habits that deform its records.

A habit changes the records in place. Most keep what they mean; those that destroy a value must be
counted or refused by the reader.
"""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.helpers.random_truth import Box, TrueImage, Truth, write_image

Content = dict[str, Any]
Habit = Callable[[Content, Random], None]
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")
LAYOUTS = ("instances", "roboflow", "annotations")
SUFFIXES = (".png", ".jpg", ".JPG", ".jpeg", ".bmp", ".webp")


def coco_content(classes: list[str], images: list[TrueImage], suffix: str) -> Content:
    """Return plain records of one split."""
    annotations: list[Content] = []
    for image_id, image in enumerate(images, start=1):
        for name, box in image.objects:
            annotations.append({
                "id": len(annotations) + 1, "image_id": image_id,
                "category_id": classes.index(name) + 1, "bbox": list(box),
                "area": box[2] * box[3], "iscrowd": 0,
            })  # fmt: skip
    return {
        "info": {"year": 2024}, "licenses": [],
        "images": [
            {"id": i, "file_name": image.stem + suffix, "width": image.width,
             "height": image.height}
            for i, image in enumerate(images, start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, start=1)],
    }  # fmt: skip


def write_coco_truth(truth: Truth, root: Path, habits: list[str], rng: Random) -> None:
    """Write a truth as COCO files with these habits; each split has an order of its own."""
    layout, suffix = rng.choice(LAYOUTS), rng.choice(SUFFIXES)
    encoding = rng.choice(ENCODINGS) if "encoding" in habits else "utf-8"
    for split, images in truth.splits.items():
        classes = list(truth.classes)
        if "class_order" in habits:
            rng.shuffle(classes)
        content = coco_content(classes, images, suffix)
        for habit in sorted(habits, key=list(COCO_HABITS).index):
            COCO_HABITS[habit](content, rng)
        text = json.dumps(content, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, 1)))
        if "duplicate_key" in habits:
            text = text.replace('"iscrowd": 0', '"iscrowd": 0, "iscrowd": 0')
        path, folder = _places(root, layout, split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode(encoding))
        for image in images:
            write_image(folder / f"{image.stem}{suffix}", image)
    if "extra_files" in habits:
        write_extra_files(root, rng)


def write_plain_coco(truth: Truth, root: Path, mask: Callable[[Box, tuple[int, int]], Any]) -> None:
    """Write a truth without habits; `mask` makes the segmentation of a box in an image size."""
    for split, images in truth.splits.items():
        content = coco_content(truth.classes, images, ".png")
        sizes = {each["id"]: (each["height"], each["width"]) for each in content["images"]}
        for each in content["annotations"]:
            each["segmentation"] = mask(each["bbox"], sizes[each["image_id"]])
        path, folder = _places(root, "instances", split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        for image in images:
            write_image(folder / f"{image.stem}.png", image)


def write_extra_files(root: Path, rng: Random) -> None:
    """Write what file managers and archives leave behind."""
    for name in rng.sample(("README.txt", ".DS_Store", "Thumbs.db", "notes.json"), 2):
        (root / name).write_text("[]" if name.endswith("json") else "hello")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "._x.png").write_bytes(b"\0\5\x16\7")


def _places(root: Path, layout: str, split: str) -> tuple[Path, Path]:
    if layout == "roboflow":
        folder = root / ("valid" if split == "val" else split)
        return folder / "_annotations.coco.json", folder
    if layout == "annotations":
        return root / "annotations" / f"{split}.json", root / split
    return root / "annotations" / f"instances_{split}2017.json", root / "images" / f"{split}2017"


def _nothing(content: Content, rng: Random) -> None:
    """For habits of the files, not of the records."""


def _renumber(content: Content, kind: str, new: Callable[[int], Any], *, own: bool = True) -> None:
    """Give images or categories other ids; `own` False changes the references alone."""
    key, reference = ("images", "image_id") if kind == "image" else ("categories", "category_id")
    for record in content[key] if own else ():
        record["id"] = new(record["id"])
    for annotation in content["annotations"]:
        annotation[reference] = new(annotation[reference])


def _one(content: Content, rng: Random, key: str = "annotations") -> Content:
    record: Content = rng.choice(content[key]) if content[key] else {}
    return record


def _ids(content: Content, rng: Random) -> None:
    kind = rng.choice(("image", "category"))
    shift = rng.choice((-7, 2**31, 2**53 + 1, 2**60, 2**63, 2**64))
    new = rng.choice((
        lambda i: i + shift, lambda i: -i, lambda i: f"{i}", lambda i: f"id {i}", float,
        lambda i: 1000 - 3 * i, lambda i: f"{i:06d}",
    ))  # fmt: skip
    _renumber(content, kind, new)


def _references(content: Content, rng: Random) -> None:
    form = rng.choice((str, float))
    kind = rng.choice(("image", "category"))
    _renumber(content, kind, lambda i: form(i) if isinstance(i, int) else i, own=False)


def _annotation_ids(content: Content, rng: Random) -> None:
    value = rng.choice((None, 1, "x", 2**63, 1.5))
    for annotation in content["annotations"]:
        annotation["id"] = value
        if rng.random() < 0.2:
            del annotation["id"]


def _numbers_as_text(content: Content, rng: Random) -> None:
    for image in content["images"]:
        image["width"], image["height"] = str(image["width"]), f"{image['height']}.0"


def _sizes(content: Content, rng: Random) -> None:
    image = _one(content, rng, "images")
    key = rng.choice(("width", "height"))
    image[key] = rng.choice((None, 0, "", float(image[key])))


def _boxes_as_text(content: Content, rng: Random) -> None:
    for annotation in content["annotations"]:
        annotation["bbox"] = [str(x) for x in annotation["bbox"]]


def _boxes_as_floats(content: Content, rng: Random) -> None:
    for annotation in content["annotations"]:
        annotation["bbox"] = [float(x) + 1e-9 for x in annotation["bbox"]]


def _bad_box(content: Content, rng: Random) -> None:
    _one(content, rng)["bbox"] = rng.choice((
        None, [], [1, 2, 3], "abc", [1, 2, float("nan"), 4], [1, 2, 0, 4], [1, 2, -3, 4],
        [1, 2, "x", 4], [[1, 2, 3, 4]], {}, [500, 500, 5, 5], [1, 2, float("inf"), 4],
        [True, 2, 3, 4],
    ))  # fmt: skip


def _crowd(content: Content, rng: Random) -> None:
    value = rng.choice((None, "0", False, "", 0.0, "false"))
    for annotation in content["annotations"]:
        annotation["iscrowd"] = value
        if rng.random() < 0.3:
            del annotation["iscrowd"]


def _area(content: Content, rng: Random) -> None:
    value = rng.choice((None, "12.5", 0, -1, "abc", float("nan"), []))
    for annotation in content["annotations"]:
        annotation["area"] = value
        if rng.random() < 0.3:
            del annotation["area"]


def _segmentation(content: Content, rng: Random) -> None:
    value = rng.choice((
        None, "", [], {}, [[]], [1, 1, 9, 1, 9, 9], [[1, 1, 9, 1, 9]], {"counts": [0, 5]},
        {"size": [1.0, 2.0], "counts": "x"}, [["a", 1]], 7,
    ))  # fmt: skip
    for annotation in content["annotations"]:
        annotation["segmentation"] = value


def _headers(content: Content, rng: Random) -> None:
    content["info"] = rng.choice((None, {"year": "2024"}, {"year": ""}, [], "x", {"year": None}))
    content["licenses"] = rng.choice((None, {}, [{"id": None, "url": 3}], "MIT"))
    content["videos"] = None


def _more_keys(content: Content, rng: Random) -> None:
    for record in (*content["images"], *content["annotations"], *content["categories"]):
        record |= {"attributes": {"occluded": False}, "score": None, "ignore": 0, "rotation": "?"}
        record["license"] = rng.choice((None, "0", 1))


def _shuffled(content: Content, rng: Random) -> None:
    for key in ("images", "annotations", "categories"):
        rng.shuffle(content[key])


def _file_names(content: Content, rng: Random) -> None:
    before = rng.choice(("./", "/data/old/server/", "C:\\photos\\", "x\\", "http://h/a/"))
    for image in content["images"]:
        image["file_name"] = before + image["file_name"]


def _unknown(content: Content, rng: Random) -> None:
    base = {"id": 10**6, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
    content["annotations"].append(base | rng.choice(({"image_id": 10**9}, {"category_id": "?"})))


def _twice(content: Content, rng: Random) -> None:
    key = rng.choice(("images", "categories"))
    content[key].append(dict(_one(content, rng, key)))


def _category_names(content: Content, rng: Random) -> None:
    category = _one(content, rng, "categories")
    category["name"] = rng.choice((f" {category['name']} ", None, "", ["x"]))


def _lost(content: Content, rng: Random) -> None:
    key = rng.choice(("images", "annotations", "categories"))
    record = _one(content, rng, key)
    if record:
        del record[rng.choice(sorted(record))]


def _not_records(content: Content, rng: Random) -> None:
    key = rng.choice(("images", "annotations", "categories"))
    content[key] = rng.choice((None, {}, [*content[key], None], [*content[key], 5], "x"))


COCO_HABITS: dict[str, Habit] = {
    "encoding": _nothing, "class_order": _nothing, "duplicate_key": _nothing,
    "extra_files": _nothing, "ids": _ids, "references": _references,
    "annotation_ids": _annotation_ids, "numbers_as_text": _numbers_as_text, "sizes": _sizes,
    "boxes_as_text": _boxes_as_text, "boxes_as_floats": _boxes_as_floats, "bad_box": _bad_box,
    "crowd": _crowd, "area": _area, "segmentation": _segmentation, "headers": _headers,
    "more_keys": _more_keys, "shuffled": _shuffled, "file_names": _file_names,
    "unknown": _unknown, "twice": _twice, "category_names": _category_names, "lost": _lost,
    "not_records": _not_records,
}  # fmt: skip
