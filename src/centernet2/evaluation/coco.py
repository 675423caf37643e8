"""COCO average precision and recall, and the COCO results file.

hotcoco does the matching; its precision and recall arrays are pycocotools' to the last bit. Detections travel as one
float64 array [D, 7] with the columns of `RESULT_COLUMNS`, the form that `loadRes` of both libraries takes: it is a
fifth of the size of a list of dictionaries and keeps every digit. Their masks, where there are any, travel beside it.
"""

import json
import logging
import os
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, Protocol, TypedDict

import numpy as np
from hotcoco import COCO, COCOeval
from hotcoco import mask as rle
from numpy.typing import NDArray
from torch import Tensor

from centernet2.ops.masks import paste_masks, resize_masks
from centernet2.structures import Detections

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

RESULT_COLUMNS = ("image_id", "x", "y", "width", "height", "score", "category_id")
SIZES = {1: "s", 2: "m", 3: "l"}  # COCOeval's area ranges: 0 is all sizes, then up to 32^2, up to 96^2, larger


PROBED = 100  # annotations looked at to know whether a data set has masks
PASTED_PIXELS = 2**27  # of the masks that are held at a time


class RunLengths(TypedDict):
    """A mask as COCO's compressed run lengths."""

    size: list[int]  # height, width
    counts: str


class GroundTruth(Protocol):
    """What evaluation reads of a data set."""

    @property
    def class_names(self) -> Sequence[str]: ...  # by label
    @property
    def category_ids(self) -> Sequence[int]: ...  # label -> id in the annotation file
    @property
    def annotations(self) -> Path | None: ...  # the annotation file, if there is one in COCO's format
    @property
    def image_ids(self) -> NDArray[np.int64]: ...  # [I]
    @property
    def heights(self) -> NDArray[np.int32]: ...  # [I]
    @property
    def widths(self) -> NDArray[np.int32]: ...  # [I]
    @property
    def offsets(self) -> NDArray[np.int64]: ...  # [I + 1] the boxes of image i: rows offsets[i] to offsets[i + 1]
    @property
    def boxes(self) -> NDArray[np.float32]: ...  # [B, 4] xyxy
    @property
    def labels(self) -> NDArray[np.int32]: ...  # [B]
    @property
    def areas(self) -> NDArray[np.float32]: ...  # [B]
    @property
    def crowd(self) -> NDArray[np.bool_]: ...  # [B]
    def segmentation(self, row: int) -> Any: ...  # the mask of box `row` as COCO's JSON has it, or None


def coco_metrics(
    truth: GroundTruth, results: FloatArray, *, max_detections: int, masks: Sequence[RunLengths] | None = None
) -> dict[str, float]:
    """The twelve COCO figures of box detection and the AP of each class, in per cent: {"bbox/AP": ...}.

    With the `masks` [D] of the detections, those of instance segmentation as well: {"segm/AP": ...}, in which overlap
    and size are the masks'. A figure without ground truth (no small object, no object of a class) is NaN, where
    pycocotools has -1. AP and the figures by size count up to `max_detections` detections per image, but at least
    COCO's 100; a larger number (300 for LVIS and Objects365) adds an AR of that name.
    """
    counts = sorted({1, 10, 100, max(100, max_detections)})
    ground_truth = _as_coco(truth)
    metrics = _figures(truth, COCOeval(ground_truth, ground_truth.load_res(results), "bbox"), counts, "bbox")
    if masks is None:
        return metrics
    if not any("segmentation" in each for each in ground_truth.load_anns(ground_truth.get_ann_ids()[:PROBED])):
        logger.warning("%s has no masks: the detections' are not evaluated", truth.annotations or "the data set")
        return metrics
    found = ground_truth.load_res(_mask_records(results, masks))
    return metrics | _figures(truth, COCOeval(ground_truth, found, "segm"), counts, "segm")


def _figures(truth: GroundTruth, evaluator: COCOeval, counts: list[int], kind: str) -> dict[str, float]:
    evaluator.params.img_ids = sorted(truth.image_ids.tolist())
    evaluator.params.cat_ids = category_ids = sorted(truth.category_ids)
    evaluator.params.max_dets = counts
    evaluator.evaluate()
    evaluator.accumulate()
    curves: dict[str, Any] = evaluator.eval or {}
    precision = curves["precision"]  # [IoU threshold, recall, C, area, count]
    recall = curves["recall"]  # [IoU threshold, C, area, count]

    metrics = {
        "AP": _per_cent(precision[..., 0, -1]),
        "AP50": _per_cent(precision[0, ..., 0, -1]),
        "AP75": _per_cent(precision[5, ..., 0, -1]),
        **{f"AP{size}": _per_cent(precision[..., area, -1]) for area, size in SIZES.items()},
        **{f"AR{count}": _per_cent(recall[..., 0, index]) for index, count in enumerate(counts)},
        **{f"AR{size}": _per_cent(recall[..., area, -1]) for area, size in SIZES.items()},
    }
    for name, category in zip(truth.class_names, truth.category_ids, strict=True):
        metrics[f"AP/{name}"] = _per_cent(precision[:, :, category_ids.index(category), 0, -1])
    return {f"{kind}/{name}": value for name, value in metrics.items()}


def _mask_records(results: FloatArray, masks: Sequence[RunLengths]) -> list[dict[str, Any]]:
    """Detections without boxes: with one, COCO takes its area for the mask's."""
    return [
        {"image_id": int(row[0]), "category_id": int(row[6]), "score": row[5], "segmentation": mask}
        for row, mask in zip(results.tolist(), masks, strict=True)
    ]


def _per_cent(values: FloatArray) -> float:
    """100 times the mean of the values that exist: COCOeval marks with -1 what has no ground truth."""
    present = values[values > -1]
    return 100 * float(present.mean()) if present.size else float("nan")


def _as_coco(truth: GroundTruth) -> COCO:
    """The annotation file itself, which is exact; the packed arrays where they come from another format."""
    if truth.annotations is not None:
        return COCO(str(truth.annotations))
    annotations: dict[str, NDArray[Any]] = {
        "image_id": np.repeat(truth.image_ids, np.diff(truth.offsets)),
        "category_id": np.asarray(truth.category_ids)[truth.labels],
        "bbox": _xyxy_to_xywh(truth.boxes),
        "area": truth.areas,
        "iscrowd": truth.crowd.astype(int),
        "id": np.arange(1, len(truth.boxes) + 1),
    }
    records = _records(annotations)
    for row, record in enumerate(records):
        segmentation = truth.segmentation(row)
        record |= {} if segmentation is None else {"segmentation": segmentation}
    images: dict[str, NDArray[Any]] = {"id": truth.image_ids, "height": truth.heights, "width": truth.widths}
    categories = [{"id": i, "name": name} for i, name in zip(truth.category_ids, truth.class_names, strict=True)]
    return COCO({"images": _records(images), "annotations": records, "categories": categories})


def _records(columns: dict[str, NDArray[Any]]) -> list[dict[str, Any]]:
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def results_of(detections: Detections, *, image_id: int, category_ids: Sequence[int]) -> FloatArray:
    """Detections on the original image as rows of COCO results."""
    boxes = _xyxy_to_xywh(detections["boxes"].cpu().numpy())  # [D, 4]
    scores = detections["scores"].cpu().numpy()  # [D]
    categories = np.asarray(category_ids)[detections["labels"].cpu().numpy()]  # [D]
    return np.column_stack([np.full(len(boxes), image_id), boxes, scores, categories]).astype(np.float64)  # [D, 7]


def encode_masks(detections: Detections, size: tuple[int, int]) -> list[RunLengths] | None:
    """The masks of detections in an image of `size` (height, width); None where they have none.

    They are pasted and encoded a few at a time, so that those of a large image fit into memory.
    """
    if "box_masks" not in detections and "masks" not in detections:
        return None
    step = max(1, PASTED_PIXELS // (size[0] * size[1]))
    encoded: list[RunLengths] = []
    for start in range(0, len(detections["boxes"]), step):
        rows = slice(start, start + step)
        if "box_masks" in detections:
            masks = paste_masks(detections["box_masks"][rows], detections["boxes"][rows], size)
        else:
            masks = resize_masks(detections["masks"][rows], size)
        encoded += [_encode(mask) for mask in masks.cpu()]
    return encoded


def _encode(mask: Tensor) -> RunLengths:
    counts = rle.encode(mask.numpy())["counts"]
    return {"size": list(mask.shape), "counts": counts.decode("ascii")}


def _xyxy_to_xywh(boxes: NDArray[np.floating[Any]]) -> FloatArray:
    """In float64, so that nothing is lost on the way to the results file and back."""
    corners = boxes.astype(np.float64)  # [B, 4]
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def write_results(path: Path, results: FloatArray, masks: Sequence[RunLengths] | None = None) -> None:
    """Writes COCO results, one detection a line; the file appears whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        for index, (row, mask) in enumerate(zip(results, repeat(None) if masks is None else masks, strict=False)):
            image_id, *box, score, category = row.tolist()
            record = {"image_id": int(image_id), "category_id": int(category), "bbox": box, "score": score}
            record |= {} if mask is None else {"segmentation": mask}
            file.write((",\n" if index else "[\n") + json.dumps(record))
        file.write("\n]\n" if len(results) else "[]\n")
    os.replace(partial, path)


def read_results(path: Path, truth: GroundTruth) -> FloatArray:
    """Reads COCO results of boxes from anywhere and checks that they belong to the data set."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        rows = [(r["image_id"], *r["bbox"], r["score"], r["category_id"]) for r in records]
        results = np.array(rows, dtype=np.float64).reshape(len(rows), len(RESULT_COLUMNS))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a COCO results file (a JSON list of detections): {error}") from error
    except KeyError as error:
        raise ValueError(f"{path}: a detection lacks {error}; each needs image_id, category_id, bbox, score") from error
    if not np.isfinite(results).all():
        raise ValueError(
            f"{path}: detection {int(np.argmin(np.isfinite(results).all(axis=1)))} holds a NaN or infinity"
        )
    for kind, column, known in (("image_id", 0, truth.image_ids), ("category_id", 6, np.asarray(truth.category_ids))):
        unknown = np.setdiff1d(results[:, column], known)
        if unknown.size:
            raise ValueError(
                f"{path}: {kind} {int(unknown[0])} is not in the data set; were these detections made on another one?"
            )
    return results


def read_masks(path: Path, truth: GroundTruth) -> list[RunLengths] | None:
    """The masks of COCO results; None unless every detection has one, of the size of its image."""
    records = json.loads(path.read_text(encoding="utf-8"))
    masks = [record.get("segmentation") for record in records]
    if not masks or not all(isinstance(mask, dict) and isinstance(mask.get("counts"), str) for mask in masks):
        return None
    sizes = dict(
        zip(truth.image_ids.tolist(), zip(truth.heights.tolist(), truth.widths.tolist(), strict=True), strict=True)
    )
    for row, (record, mask) in enumerate(zip(records, masks, strict=True)):
        if tuple(mask.get("size", ())) != sizes[record["image_id"]]:
            raise ValueError(
                f"{path}: the mask of detection {row} is of size {mask.get('size')}, its image "
                f"{list(sizes[record['image_id']])}; were these detections made on resized images?"
            )
    return masks
