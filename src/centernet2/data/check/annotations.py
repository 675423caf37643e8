"""Find the problems of annotations.

The check reads the raw records of COCO's format: with problems they may not load as a data set.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise

from centernet2.data.check.usable_records import (
    box_of,
    clip_to_image,
    have_corners,
    incomplete_records,
    is_finite_number,
    recorded_size,
    repeated,
    without_incomplete,
)
from centernet2.data.findings import Action, Finding, ProblemExample, Xywh, make_finding
from centernet2.data.readers.json_records import Record

BORDER_TOLERANCE = 1.0  # pixels by which a box may exceed its image


def check_annotations(content: Record, split: str) -> list[Finding]:
    """Find the problems in records of COCO's format, the worst kinds first."""
    problems = _AnnotationProblems(content)
    no_objects: Action = "note" if split in ("val", "test") else "refuses"
    checks: list[tuple[str, Action, str, Callable[[], Iterable[ProblemExample]]]] = [
        ("records that lack a required value", "refuses",
         "add it or remove the record", problems.incomplete),
        ("duplicate image ids", "refuses", "give each image an id of its own", problems.image_ids),
        ("duplicate annotation ids", "refuses",
         "give each annotation an id of its own", problems.annotation_ids),
        ("duplicate category ids", "refuses",
         "give each category an id of its own", problems.category_ids),
        ("unknown images", "refuses", "add the image or remove the annotation", problems.no_image),
        ("unknown categories", "refuses",
         "add the category or remove the annotation", problems.no_category),
        ("duplicate category names", "refuses", "merge them", problems.category_names),
        ("boxes that are not four finite numbers", "refuses",
         "correct or remove them", problems.not_finite),
        ("corners in place of width and height", "refuses",
         "write [x, y, width, height]", problems.corners),
        ("no objects", no_objects, "annotate some", problems.no_objects),
        ("boxes without positive width and height", "drops",
         "correct or remove them", problems.empty),
        ("boxes completely outside their image", "drops",
         "correct or remove them", problems.outside),
        ("boxes that extend beyond their image", "repairs",
         "they are clipped to the image", problems.partly_outside),
        ("duplicate boxes", "keeps",
         "each counts as an object of its own", problems.duplicate_boxes),
        ("images listed twice", "keeps",
         "training uses them twice as often", problems.duplicate_files),
        ("classes without an object", "note",
         "they cannot be learned", problems.unused_classes),
        ("images without an object", "note",
         "left out, or with FILTER_EMPTY_ANNOTATIONS False kept", problems.empty_images),
        ("category ids with gaps", "note", "they are mapped to 0, 1, 2 ...", problems.gaps),
    ]  # fmt: skip
    findings = [
        make_finding(split, kind, action, advice, occurrences())
        for kind, action, advice, occurrences in checks
    ]
    return [finding for finding in findings if finding is not None]


def check_classes(contents: Mapping[str, Record]) -> list[Finding]:
    """Find class names that only one of the training split and another split has.

    The order of the classes may differ: they are matched by name.
    """
    names: dict[str, set[str]] = {}
    for split, content in contents.items():
        categories = without_incomplete({"categories": content.get("categories")})["categories"]
        names[split] = {str(category["name"]) for category in categories}
    trained = names.get("train", set())
    findings = [
        make_finding(
            split, "other class names than in the training split",
            "refuses" if split == "val" else "note", "use the same names in both",
            [
                *(ProblemExample(f"'{name}' is missing") for name in sorted(trained - own)),
                *(ProblemExample(f"'{name}' is added") for name in sorted(own - trained)),
            ],
        )
        for split, own in names.items()
        if trained
    ]  # fmt: skip
    return [finding for finding in findings if finding is not None]


class _AnnotationProblems:
    """Problems of the records; each method yields the occurrences of one kind."""

    def __init__(self, content: Record) -> None:
        self.broken = [f"{record}: {lack}" for record, lack in incomplete_records(content)]
        complete = without_incomplete(content)
        self.images: list[Record] = complete["images"]
        self.categories: list[Record] = complete["categories"]
        self.annotations: list[Record] = complete["annotations"]
        self.image_of = {image["id"]: image for image in reversed(self.images)}
        self.names = {category["id"]: category["name"] for category in self.categories}
        self.boxes = [box_of(annotation) for annotation in self.annotations]
        self.have_corners = have_corners(self.annotations, self.boxes, self.image_of)

    def incomplete(self) -> Iterator[ProblemExample]:
        return map(ProblemExample, self.broken)

    def category_ids(self) -> Iterator[ProblemExample]:
        for category in repeated(self.categories, lambda category: category["id"]):
            yield ProblemExample(f"category {category['id']}: {category['name']}")

    def image_ids(self) -> Iterator[ProblemExample]:
        for image in repeated(self.images, lambda image: image["id"]):
            yield ProblemExample(f"image {image['id']} ({image.get('file_name')})")

    def annotation_ids(self) -> Iterator[ProblemExample]:
        for annotation in repeated(self.annotations, lambda annotation: annotation["id"]):
            yield self._example(annotation)

    def duplicate_files(self) -> Iterator[ProblemExample]:
        for image in repeated(self.images, lambda image: image.get("file_name")):
            yield ProblemExample(f"image {image['id']}: {image.get('file_name')}")

    def category_names(self) -> Iterator[ProblemExample]:
        for category in repeated(self.categories, lambda category: category["name"]):
            yield ProblemExample(f"category {category['id']}: {category['name']}")

    def no_image(self) -> Iterator[ProblemExample]:
        for annotation in self.annotations:
            if annotation["image_id"] not in self.image_of:
                words = f"image {annotation['image_id']}"
                yield ProblemExample(f"annotation {annotation['id']}: {words}")

    def no_category(self) -> Iterator[ProblemExample]:
        for annotation in self.annotations:
            if annotation["category_id"] not in self.names:
                yield self._example(annotation, f"category {annotation['category_id']}")

    def not_finite(self) -> Iterator[ProblemExample]:
        for annotation, box in zip(self.annotations, self.boxes, strict=True):
            if box is None or not is_finite_number(annotation.get("area", 0)):
                words = f"bbox {annotation.get('bbox')}, area {annotation.get('area')}"
                yield ProblemExample(f"annotation {annotation['id']}: {words}")

    def corners(self) -> Iterator[ProblemExample]:
        return map(self._example, self.annotations if self.have_corners else ())

    def empty(self) -> Iterator[ProblemExample]:
        for annotation, box in self._with_box():
            if min(box[2:]) <= 0:
                yield self._example(annotation, str(annotation["bbox"]))

    def outside(self) -> Iterator[ProblemExample]:
        for annotation, box in self._with_box():
            inner = clip_to_image(box, self.image_of[annotation["image_id"]])
            if min(box[2:]) > 0 and min(inner[2:]) <= 0:
                yield self._example(annotation, str(annotation["bbox"]))

    def partly_outside(self) -> Iterator[ProblemExample]:
        for annotation, box in () if self.have_corners else self._with_box():
            inner = clip_to_image(box, self.image_of[annotation["image_id"]])
            excess = max(abs(a - b) for a, b in zip(inner, box, strict=True))
            if min(inner[2:]) > 0 and excess > BORDER_TOLERANCE:
                yield self._example(annotation, str(annotation["bbox"]))

    def duplicate_boxes(self) -> Iterator[ProblemExample]:
        annotations = [annotation for annotation, _ in self._with_box()]
        for annotation in repeated(
            annotations, lambda a: (a["image_id"], a["category_id"], tuple(a["bbox"]))
        ):
            yield self._example(annotation)

    def no_objects(self) -> Iterator[ProblemExample]:
        if not self.annotations:
            yield ProblemExample(f"{len(self.images)} images without annotations")

    def unused_classes(self) -> Iterator[ProblemExample]:
        used = {annotation["category_id"] for annotation in self.annotations}
        for number, name in self.names.items():
            if number not in used:
                yield ProblemExample(str(name))

    def empty_images(self) -> Iterator[ProblemExample]:
        used = {annotation["image_id"] for annotation in self.annotations}
        for image in self.images:
            if image["id"] not in used:
                yield ProblemExample(str(image.get("file_name")), str(image.get("file_name")))

    def gaps(self) -> Iterator[ProblemExample]:
        for first, second in pairwise(sorted(self.names)):
            if second > first + 1:
                yield ProblemExample(f"after {first} comes {second}")

    def _with_box(self) -> Iterator[tuple[Record, Xywh]]:
        """Annotations with a finite box in a known image that has a size."""
        for annotation, box in zip(self.annotations, self.boxes, strict=True):
            image = self.image_of.get(annotation["image_id"])
            if box is not None and image is not None and recorded_size(image) is not None:
                yield annotation, box

    def _example(self, annotation: Record, text: str = "") -> ProblemExample:
        file_name = str(self.image_of.get(annotation["image_id"], {}).get("file_name", ""))
        words = f"annotation {annotation['id']} in {file_name or annotation['image_id']}"
        return ProblemExample(f"{words}: {text}" if text else words, file_name, box_of(annotation))
