"""What is wrong with annotations, and a repaired copy of them.

Both work on the records of COCO's format as they stand in the file, since what is wrong with them may keep them from
being read into a data set at all.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from centernet2.data.readers.coco import are_corners

Record = dict[str, Any]
# what training does about it; a note is nothing wrong
Action = Literal["refuses", "drops", "repairs", "keeps", "note"]
EXAMPLES = 5
MARGIN = 1.0  # pixels that a box may reach over the border without a word


class Place(NamedTuple):
    """Where an example of a finding is."""

    text: str
    file_name: str = ""
    box: tuple[float, float, float, float] | None = None  # x, y, width, height


class Finding(NamedTuple):
    """One kind of fault in one split."""

    split: str
    kind: str
    total: int
    action: Action
    advice: str
    examples: tuple[Place, ...]  # the first ones


def check_annotations(content: Record, split: str) -> list[Finding]:
    """The faults in records of COCO's format, the worst kinds first."""
    look = _Annotations(content)
    kinds: list[tuple[str, Action, str, Callable[[], Iterable[Place]]]] = [
        (
            "records without a value that they need",
            "refuses",
            "add it or remove the record",
            look.incomplete,
        ),
        (
            "duplicate image ids",
            "refuses",
            "give each image an id of its own",
            look.duplicate_images,
        ),
        (
            "duplicate annotation ids",
            "refuses",
            "give each annotation an id of its own",
            look.duplicate_annotations,
        ),
        (
            "duplicate category ids",
            "refuses",
            "give each category an id of its own",
            look.duplicate_categories,
        ),
        (
            "unknown images",
            "refuses",
            "add the image or remove the annotation",
            look.unknown_images,
        ),
        (
            "unknown categories",
            "refuses",
            "add the category or remove the annotation",
            look.unknown_categories,
        ),
        ("category names that stand twice", "refuses", "merge them", look.duplicate_names),
        (
            "boxes that are not four finite numbers",
            "refuses",
            "correct or remove them",
            look.not_finite,
        ),
        (
            "corners in place of width and height",
            "refuses",
            "write [x, y, width, height]",
            look.corners,
        ),
        (
            "no objects at all",
            "note" if split in ("val", "test") else "refuses",
            "annotate some",
            look.nothing,
        ),
        ("boxes without positive width and height", "drops", "correct or remove them", look.empty),
        ("boxes wholly outside their image", "drops", "correct or remove them", look.outside),
        (
            "boxes that reach outside their image",
            "repairs",
            "they are clipped at the border",
            look.reaching_outside,
        ),
        ("boxes that stand twice", "keeps", "each counts as an object of its own", look.twice),
        (
            "image files named twice",
            "keeps",
            "the image is seen twice as often",
            look.duplicate_files,
        ),
        ("classes without an object", "note", "nothing can be learned of them", look.empty_classes),
        (
            "images without an object",
            "note",
            "left out, or with FILTER_EMPTY_ANNOTATIONS False kept",
            look.no_objects,
        ),
        ("category ids with gaps", "note", "they are mapped to 0, 1, 2 ...", look.gaps),
    ]
    return [
        found
        for kind, action, advice, places in kinds
        if (found := finding(split, kind, action, advice, places())) is not None
    ]


def finding(
    split: str, kind: str, action: Action, advice: str, places: Iterable[Place]
) -> Finding | None:
    """The finding of places, if there are any."""
    found = list(places)
    return (
        Finding(split, kind, len(found), action, advice, tuple(found[:EXAMPLES])) if found else None
    )


class _Annotations:
    """The records, with their boxes as numbers."""

    def __init__(self, content: Record) -> None:
        self.broken = [
            f"{kind} number {row + 1}: {lack}" for kind, row, lack in _incomplete(content)
        ]
        complete = without_incomplete(content)
        self.images: list[Record] = complete["images"]
        self.categories: list[Record] = complete["categories"]
        self.annotations: list[Record] = complete["annotations"]
        self.image_of = {image["id"]: image for image in reversed(self.images)}
        self.names = {category["id"]: category["name"] for category in self.categories}
        self.boxes = [box_of(annotation) for annotation in self.annotations]
        self.are_corners = _are_corners(self.annotations, self.boxes, self.image_of)

    def incomplete(self) -> Iterator[Place]:
        return map(Place, self.broken)

    def duplicate_categories(self) -> Iterator[Place]:
        for category in _repeated(self.categories, lambda category: category["id"]):
            yield Place(f"category {category['id']}: {category['name']}")

    def duplicate_images(self) -> Iterator[Place]:
        for image in _repeated(self.images, lambda image: image.get("id")):
            yield Place(f"image {image.get('id')} ({image.get('file_name')})")

    def duplicate_annotations(self) -> Iterator[Place]:
        for annotation in _repeated(self.annotations, lambda annotation: annotation.get("id")):
            yield self._place(annotation)

    def duplicate_files(self) -> Iterator[Place]:
        for image in _repeated(self.images, lambda image: image.get("file_name")):
            yield Place(f"image {image.get('id')}: {image.get('file_name')}")

    def duplicate_names(self) -> Iterator[Place]:
        for category in _repeated(self.categories, lambda category: category.get("name")):
            yield Place(f"category {category.get('id')}: {category.get('name')}")

    def unknown_images(self) -> Iterator[Place]:
        for annotation in self.annotations:
            if annotation.get("image_id") not in self.image_of:
                yield Place(
                    f"annotation {annotation.get('id')}: image {annotation.get('image_id')!r}"
                )

    def unknown_categories(self) -> Iterator[Place]:
        for annotation in self.annotations:
            if annotation.get("category_id") not in self.names:
                yield self._place(annotation, f"category {annotation.get('category_id')!r}")

    def not_finite(self) -> Iterator[Place]:
        for annotation, box in zip(self.annotations, self.boxes, strict=True):
            if box is None or not _is_area(annotation.get("area", 0)):
                words = f"bbox {annotation.get('bbox')}, area {annotation.get('area')}"
                yield Place(f"annotation {annotation.get('id')}: {words}")

    def corners(self) -> Iterator[Place]:
        return map(self._place, self.annotations if self.are_corners else ())

    def empty(self) -> Iterator[Place]:
        for annotation, box in self._known():
            if min(box[2:]) <= 0:
                yield self._place(annotation, str(annotation["bbox"]))

    def outside(self) -> Iterator[Place]:
        for annotation, box in self._known():
            if (
                min(box[2:]) > 0
                and min(clipped(box, self.image_of[annotation["image_id"]])[2:]) <= 0
            ):
                yield self._place(annotation, str(annotation["bbox"]))

    def reaching_outside(self) -> Iterator[Place]:
        for annotation, box in () if self.are_corners else self._known():
            inner = clipped(box, self.image_of[annotation["image_id"]])
            if (
                min(inner[2:]) > 0
                and max(abs(a - b) for a, b in zip(inner, box, strict=True)) > MARGIN
            ):
                yield self._place(annotation, str(annotation["bbox"]))

    def twice(self) -> Iterator[Place]:
        known = [annotation for annotation, _ in self._known()]
        for annotation in _repeated(
            known, lambda a: (a["image_id"], a.get("category_id"), tuple(a["bbox"]))
        ):
            yield self._place(annotation)

    def nothing(self) -> Iterator[Place]:
        if not self.annotations:
            yield Place(f"{len(self.images)} images without annotations")

    def empty_classes(self) -> Iterator[Place]:
        used = {annotation.get("category_id") for annotation in self.annotations}
        for number, name in self.names.items():
            if number not in used:
                yield Place(str(name))

    def no_objects(self) -> Iterator[Place]:
        used = {annotation.get("image_id") for annotation in self.annotations}
        for image in self.images:
            if image.get("id") not in used:
                yield Place(str(image.get("file_name")), str(image.get("file_name")))

    def gaps(self) -> Iterator[Place]:
        numbers = sorted(number for number in self.names if isinstance(number, int))
        for first, second in pairwise(numbers):
            if second > first + 1:
                yield Place(f"after {first} comes {second}")

    def _known(self) -> Iterator[tuple[Record, tuple[float, float, float, float]]]:
        """Annotations with a box of finite numbers, in an image that is there and has a size."""
        for annotation, box in zip(self.annotations, self.boxes, strict=True):
            image = self.image_of.get(annotation.get("image_id"))
            if box is not None and image is not None and size_of(image) is not None:
                yield annotation, box

    def _place(self, annotation: Record, text: str = "") -> Place:
        file_name = str(self.image_of.get(annotation.get("image_id"), {}).get("file_name", ""))
        words = f"annotation {annotation.get('id')} in {file_name or annotation.get('image_id')}"
        return Place(f"{words}: {text}" if text else words, file_name, box_of(annotation))


def repair(content: Record) -> tuple[Record, list[str]]:
    """A copy of records of COCO's format without the faults that `check_annotations` finds, and what was changed."""
    changes = [
        f"{kind} number {row + 1} removed: {lack}" for kind, row, lack in _incomplete(content)
    ]
    content = without_incomplete(content)
    images = _first_of_each(content["images"], "image", changes)
    image_of = {image["id"]: image for image in images}
    categories = _first_of_each(content["categories"], "category", changes)
    names = {category["id"] for category in categories}
    annotations: list[Record] = content["annotations"]
    corners = _are_corners(annotations, [box_of(each) for each in annotations], image_of)
    kept: list[Record] = []
    taken: set[Any] = set()
    for annotation in annotations:
        label = f"annotation {annotation.get('id')}"
        box = box_of(annotation)
        if corners and box is not None:
            box = (box[0], box[1], box[2] - box[0], box[3] - box[1])
            changes.append(f"{label}: corners {annotation['bbox']} written as {list(box)}")
        reason = _reason_to_drop(annotation, box, image_of, names)
        if reason or box is None:
            changes.append(f"{label} removed: {reason}")
            continue
        inner = clipped(box, image_of[annotation["image_id"]])
        if max(abs(a - b) for a, b in zip(inner, box, strict=True)) > MARGIN:
            changes.append(f"{label}: {list(box)} clipped to {list(inner)}")
            box = inner
        number = annotation.get("id")
        if number in taken or not isinstance(number, int):
            number = max([0, *(n for n in taken if isinstance(n, int)), len(annotations)]) + 1
            changes.append(f"{label} numbered {number}: its id stood twice")
        taken.add(number)
        if not _is_area(annotation.get("area", 0)):
            changes.append(f"{label}: area {annotation['area']} written as that of its box")
        kept.append(_with_box(annotation, number, box))
    return {**content, "images": images, "categories": categories, "annotations": kept}, changes


def _with_box(annotation: Record, number: int, box: tuple[float, float, float, float]) -> Record:
    area = annotation.get("area")
    if not _is_area(area) or not area or area <= 0:
        area = box[2] * box[3]
    return {**annotation, "id": number, "bbox": list(box), "area": area}


def _is_area(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _reason_to_drop(
    annotation: Record,
    box: tuple[float, float, float, float] | None,
    image_of: dict[Any, Record],
    names: set[Any],
) -> str:
    if annotation.get("image_id") not in image_of:
        return f"there is no image {annotation.get('image_id')!r}"
    if annotation.get("category_id") not in names:
        return f"there is no category {annotation.get('category_id')!r}"
    if box is None:
        return f"{annotation.get('bbox')} is not four finite numbers"
    if min(box[2:]) <= 0:
        return f"{annotation['bbox']} has no extent"
    if min(clipped(box, image_of[annotation["image_id"]])[2:]) <= 0:
        return f"{annotation['bbox']} lies outside the image"
    return ""


def _first_of_each(records: list[Record], kind: str, changes: list[str]) -> list[Record]:
    first = {record["id"]: record for record in reversed(records)}
    for record in _repeated(records, lambda record: record["id"]):
        name = record.get("file_name", record.get("name"))
        changes.append(f"{kind} {record['id']} ({name}) removed: its id stood twice")
    return [record for record in records if first[record["id"]] is record]


NEEDED = {
    "images": ("image", ("id", "file_name", "width", "height")),
    "categories": ("category", ("id", "name")),
    "annotations": ("annotation", ("id", "image_id", "category_id")),
}


def _incomplete(content: Record) -> Iterator[tuple[str, int, str]]:
    """(kind, row, what it lacks) of each record that cannot be read; boxes are looked at by themselves."""
    for key, (kind, values) in NEEDED.items():
        for row, record in enumerate(_list(content, key)):
            lack = _lack(record, values)
            if lack:
                yield kind, row, lack


def without_incomplete(content: Record) -> Record:
    """The content with its three lists, each of records that have what they need."""
    lists = {
        key: [r for r in _list(content, key) if not _lack(r, values)]
        for key, (_, values) in NEEDED.items()
    }
    return {**content, **lists}


def _list(content: Record, key: str) -> list[Any]:
    value = content.get(key)
    return value if isinstance(value, list) else []


def _lack(record: Any, values: Iterable[str]) -> str:
    if not isinstance(record, dict):
        return f"{record!r} is not an object"
    wrong = [value for value in values if not _is_usable(record, value)]
    return f"no usable {', '.join(wrong)}" if wrong else ""


def _is_usable(record: Record, key: str) -> bool:
    value = record.get(key)
    if key in ("id", "image_id", "category_id"):
        return isinstance(value, int)
    if key in ("width", "height"):
        return isinstance(value, int | float) and math.isfinite(value) and value > 0
    if key == "file_name":
        return (isinstance(value, str) and bool(value)) or bool(record.get("coco_url"))
    return value is not None


def box_of(annotation: Record) -> tuple[float, float, float, float] | None:
    """x, y, width, height of an annotation, if these are finite numbers."""
    box = annotation.get("bbox")
    if not isinstance(box, list | tuple) or len(box) != 4:
        return None
    if not all(isinstance(x, int | float) and math.isfinite(x) for x in box):
        return None
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])


def size_of(image: Record) -> tuple[float, float] | None:
    """Width and height of an image's record, if it has them."""
    size = image.get("width"), image.get("height")
    if not all(isinstance(x, int | float) and x > 0 for x in size):
        return None
    return float(size[0]), float(size[1])  # type: ignore[arg-type]


def clipped(
    box: tuple[float, float, float, float], image: Record
) -> tuple[float, float, float, float]:
    """The part of a box (x, y, width, height) that lies in its image."""
    width, height = size_of(image) or (math.inf, math.inf)
    x1, y1 = max(0.0, box[0]), max(0.0, box[1])
    x2, y2 = min(width, box[0] + box[2]), min(height, box[1] + box[3])
    return x1, y1, x2 - x1, y2 - y1


def _are_corners(
    annotations: list[Record],
    boxes: list[tuple[float, float, float, float] | None],
    image_of: dict[Any, Record],
) -> bool:
    rows = [
        (box, size)
        for annotation, box in zip(annotations, boxes, strict=True)
        if box is not None
        and (size := size_of(image_of.get(annotation.get("image_id"), {}))) is not None
    ]
    if not rows:
        return False
    sizes = np.array([(height, width) for _, (width, height) in rows])
    return are_corners(np.array([box for box, _ in rows]), sizes)


def _repeated(records: Iterable[Record], key: Callable[[Record], Any]) -> Iterator[Record]:
    """Every record whose key an earlier one has."""
    seen: Counter[str] = Counter()
    for record in records:
        text = repr(key(record))
        if seen[text]:
            yield record
        seen[text] += 1
