"""What evaluation reads of a data set, and its arrays as the evaluator takes them.

Inside evaluation an image is its position in the data set and a class is its label. The evaluator
gets these numbers plus one. The ids of the user's files appear in files of results only.
"""

from collections.abc import Sequence
from itertools import count
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from hotcoco import COCO
from numpy.typing import NDArray
from typing_extensions import Self

from centernet2.structures import BoolArray, FloatArray, IntArray, UserId


class AnnotatedLabels(Protocol):
    """Which classes were annotated in which image, as in LVIS."""

    def negative_labels(self, i: int) -> list[int]: ...  # without an object in image i
    def not_exhaustive_labels(self, i: int) -> list[int]: ...  # with more objects than annotated


class GroundTruth(Protocol):
    """The annotations of I images as packed arrays."""

    @property
    def name(self) -> str: ...
    @property
    def layout(self) -> str: ...  # voc: Pascal VOC, which has its own metrics
    @property
    def class_names(self) -> Sequence[str]: ...  # by label
    @property
    def category_ids(self) -> Sequence[UserId]: ...  # label -> id in the annotation file
    @property
    def frequencies(self) -> Sequence[str]: ...  # LVIS: r, c or f by label; else empty
    @property
    def federated(self) -> AnnotatedLabels | None: ...
    @property
    def heights(self) -> NDArray[np.int32]: ...  # [I]
    @property
    def widths(self) -> NDArray[np.int32]: ...  # [I]
    @property
    def image_of_box(self) -> IntArray: ...  # [B]
    @property
    def xywh(self) -> FloatArray: ...  # [B, 4] as annotated
    @property
    def labels(self) -> NDArray[np.int32]: ...  # [B]
    @property
    def areas(self) -> FloatArray: ...  # [B]
    @property
    def crowd(self) -> BoolArray: ...  # [B]
    @property
    def masked(self) -> BoolArray: ...  # [B] whether it has a mask
    @property
    def sources(self) -> IntArray | None: ...  # [I] joined data sets: which of them
    @property
    def source_names(self) -> Sequence[str]: ...
    @property
    def source_category_ids(self) -> Sequence[Sequence[UserId]]: ...  # of each, by label
    def __len__(self) -> int: ...  # I
    def image_id(self, i: int, /) -> UserId: ...  # in the annotation file
    def rows(self, i: int, /) -> slice: ...  # of the boxes of image i

    def boxes(self, rows: slice | IntArray = ..., /) -> NDArray[np.float32]: ...  # [N, 4] xyxy
    def segmentation(self, row: int) -> Any: ...  # of box `row`, as in COCO's JSON, or None
    def subset(self, indices: IntArray, /) -> Self: ...  # some of the images


Truth = TypeVar("Truth", bound=GroundTruth)


class SourceSet(NamedTuple):
    """One of the data sets that were joined, or the only one."""

    name: str
    folder: str  # of its results, below that of the evaluation; empty: the only set
    images: IntArray  # [I] their positions in the joined data set
    category_ids: Sequence[UserId]  # by label


def source_sets(truth: GroundTruth) -> list[SourceSet]:
    """Return the data sets that were joined; their ids may be the same."""
    if truth.sources is None:
        return [SourceSet(truth.name, "", np.arange(len(truth)), truth.category_ids)]
    folders: list[str] = []
    for name in truth.source_names:
        word = "".join(c if c.isalnum() or c in "-_." else "_" for c in name).strip(".") or "set"
        candidates = (f"{word}_{number}" if number > 1 else word for number in count(1))
        folders.append(next(each for each in candidates if each not in folders))
    columns = zip(truth.source_names, folders, truth.source_category_ids, strict=True)
    return [
        SourceSet(name, folder, np.flatnonzero(truth.sources == number), category_ids)
        for number, (name, folder, category_ids) in enumerate(columns)
    ]


def without_images(
    truth: Truth, results: FloatArray, images: Sequence[int]
) -> tuple[Truth, FloatArray]:
    """Leave out images and their results, of [D, 7]; the others move up in both."""
    if not images:
        return truth, results
    kept = np.delete(np.arange(len(truth)), images)
    moved = results[np.isin(results[:, 0], kept)]
    moved[:, 0] = np.searchsorted(kept, moved[:, 0])
    return truth.subset(kept), moved


def as_coco(truth: GroundTruth, *, masks: bool = False) -> COCO:
    """Hand the packed arrays to the evaluator; images, classes and boxes count from 1.

    An object without a mask is a crowd where masks are evaluated: what is detected there is neither
    right nor false.
    """
    crowd, segmentations = truth.crowd, None
    if masks:
        crowd = crowd | ~truth.masked
        segmentations = [
            truth.segmentation(row) if is_masked else _outline(truth.xywh[row].tolist())
            for row, is_masked in enumerate(truth.masked.tolist())
        ]
    return COCO.from_arrays(
        _image_records(truth),
        _category_records(truth),
        truth.image_of_box + 1,
        truth.labels + 1,
        truth.xywh,
        area=truth.areas,
        iscrowd=crowd,
        segmentation=segmentations,
    )


def _image_records(truth: GroundTruth) -> list[dict[str, Any]]:
    sizes = zip(truth.heights.tolist(), truth.widths.tolist(), strict=True)
    records: list[dict[str, Any]] = [
        {"id": number, "height": height, "width": width}
        for number, (height, width) in enumerate(sizes, 1)
    ]
    annotated = truth.federated
    if annotated is None:
        return records
    for i, record in enumerate(records):
        negative, partly = annotated.negative_labels(i), annotated.not_exhaustive_labels(i)
        record["neg_category_ids"] = [label + 1 for label in negative]
        record["not_exhaustive_category_ids"] = [label + 1 for label in partly]
    return records


def _category_records(truth: GroundTruth) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = [
        {"id": number, "name": name} for number, name in enumerate(truth.class_names, 1)
    ]
    for record, frequency in zip(records, truth.frequencies, strict=False):
        record["frequency"] = frequency
    return records


def _outline(box: Sequence[float]) -> list[list[float]]:
    """Return a box [x, y, width, height] as a polygon."""
    x, y, width, height = box
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def load_detections(ground_truth: COCO, results: FloatArray) -> COCO:
    """Hand results [D, 7] to the evaluator, which numbers them from 1 in their order."""
    numbered = results.copy()
    numbered[:, [0, 6]] += 1
    return ground_truth.load_res(numbered)


def is_federated(truth: GroundTruth) -> bool:
    """Whether each image was annotated for some of the classes only, as in LVIS."""
    return truth.federated is not None
