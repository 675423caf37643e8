"""What evaluation reads of a data set, and its index in COCO's form."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from hotcoco import COCO
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class GroundTruth(Protocol):
    """The annotations of I images as packed arrays.

    The boxes of image i are rows offsets[i] to offsets[i + 1].
    """

    @property
    def class_names(self) -> Sequence[str]: ...  # by label
    @property
    def category_ids(self) -> Sequence[Any]: ...  # label -> id in the annotation file
    @property
    def annotations(self) -> Path | None: ...  # the annotation file, if it is in COCO's format
    @property
    def image_ids(self) -> NDArray[Any]: ...  # [I]
    @property
    def heights(self) -> NDArray[np.int32]: ...  # [I]
    @property
    def widths(self) -> NDArray[np.int32]: ...  # [I]
    @property
    def offsets(self) -> NDArray[np.int64]: ...  # [I + 1]
    @property
    def xywh(self) -> NDArray[np.float64]: ...  # [B, 4] as annotated
    @property
    def labels(self) -> NDArray[np.int32]: ...  # [B]
    @property
    def areas(self) -> NDArray[np.float64]: ...  # [B]
    @property
    def crowd(self) -> NDArray[np.bool_]: ...  # [B]
    def boxes(self, rows: slice | IntArray = ..., /) -> NDArray[np.float32]: ...  # [N, 4] xyxy
    def segmentation(self, row: int) -> Any: ...  # of box `row`, as in COCO's JSON, or None
    def subset(self, indices: NDArray[np.int64], /) -> "GroundTruth": ...  # some of the images


def as_coco(truth: GroundTruth) -> COCO:
    """Load the annotation file, which is exact; without one, the packed arrays."""
    if truth.annotations is not None:
        return COCO(str(truth.annotations))
    annotations: dict[str, NDArray[Any]] = {
        "image_id": np.repeat(truth.image_ids, np.diff(truth.offsets)),
        "category_id": np.asarray(truth.category_ids)[truth.labels],
        "bbox": truth.xywh,
        "area": truth.areas,
        "iscrowd": truth.crowd.astype(int),
        "id": np.arange(1, len(truth.labels) + 1),
    }
    records = _records(annotations)
    for row, record in enumerate(records):
        segmentation = truth.segmentation(row)
        record |= {} if segmentation is None else {"segmentation": segmentation}
    images: dict[str, NDArray[Any]] = {
        "id": truth.image_ids,
        "height": truth.heights,
        "width": truth.widths,
    }
    categories = [
        {"id": i, "name": name}
        for i, name in zip(truth.category_ids, truth.class_names, strict=True)
    ]
    return COCO({"images": _records(images), "annotations": records, "categories": categories})


def _records(columns: dict[str, NDArray[Any]]) -> list[dict[str, Any]]:
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def is_federated(truth: COCO) -> bool:
    """Whether each image was annotated for some of the classes only, as in LVIS."""
    return any("neg_category_ids" in image for image in truth.load_imgs(truth.get_img_ids()))


def xyxy_to_xywh(boxes: NDArray[np.floating[Any]]) -> FloatArray:
    """Convert boxes [..., 4] in float64, so that a results file keeps every digit."""
    corners = boxes.astype(np.float64)  # [B, 4]
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def box_iou_matrix(boxes: FloatArray, others: FloatArray) -> FloatArray:  # [D, G]
    """IoU of boxes [D, 4] and [G, 4], both xyxy, in float64."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    intersection = np.clip(high - low, 0, None).prod(axis=2)
    area, other_area = ((each[:, 2:] - each[:, :2]).prod(axis=1) for each in (boxes, others))
    union = area[:, None] + other_area[None] - intersection
    iou: FloatArray = np.divide(
        intersection, union, out=np.zeros_like(intersection), where=union > 0
    )
    return iou
