"""Examples of errors: false detections, missed objects and confused classes."""

from typing import Any, NamedTuple

import numpy as np

from centernet2.evaluation.ground_truth import GroundTruth
from centernet2.evaluation.matching import Matches
from centernet2.ops.box_arrays import box_iou_matrix, xywh_to_xyxy
from centernet2.structures import BoolArray, FloatArray, IntArray

EXAMPLES_PER_KIND = 12
ON_OBJECT_IOU = 0.5  # from which a detection is on an object
BESIDE_OBJECT_IOU = 0.1


class NearestObjects(NamedTuple):
    """For each detection [D] the object of highest IoU, of any class and of its own."""

    iou: FloatArray  # [D]
    label: IntArray  # [D]; -1 if the detection meets no object
    own_iou: FloatArray  # [D] with the nearest object of the detection's own class


def nearest_objects(matches: Matches, results: FloatArray) -> NearestObjects:
    """Compare the detections with all objects of their image, crowds left out."""
    boxes = xywh_to_xyxy(results[matches.rows, 1:5])
    best, own = np.zeros(len(boxes)), np.zeros(len(boxes))
    best_label = np.full(len(boxes), -1)
    rows_of = _groups(matches.images)
    objects_of = _groups(np.where(matches.objects.counted, matches.objects.images, -1))
    for image, rows in rows_of.items():
        objects = objects_of.get(image)
        if objects is None:
            continue
        labels = matches.objects.labels[objects]
        iou = box_iou_matrix(boxes[rows], matches.objects.boxes[objects])  # [D, G]
        best[rows], best_label[rows] = iou.max(axis=1), labels[iou.argmax(axis=1)]
        own[rows] = np.where(labels == matches.labels[rows][:, None], iou, 0).max(axis=1)
    best_label[best == 0] = -1
    return NearestObjects(best, best_label, own)


def find_examples(
    truth: GroundTruth,
    results: FloatArray,
    matches: Matches,
    nearest: NearestObjects,
    threshold: float,
) -> dict[str, list[dict[str, Any]]]:
    """Up to 12 of each kind: false and confused by score, missed objects by area."""
    false = ~matches.hits[0] & ~matches.ignored[0] & (matches.scores >= threshold)
    confused = (
        false
        & (nearest.iou >= ON_OBJECT_IOU)
        & (nearest.label != matches.labels)
        & (nearest.own_iou < ON_OBJECT_IOU)
    )
    boxes = xywh_to_xyxy(results[matches.rows, 1:5])

    def of_detection(d: int) -> dict[str, Any]:
        other = int(nearest.label[d])
        name = truth.class_names[other] if other >= 0 else None
        return {
            **_image(truth, matches.images[d]),
            "box": boxes[d].round(1).tolist(),
            "class": truth.class_names[matches.labels[d]],
            "score": round(float(matches.scores[d]), 4),
            "iou": round(float(nearest.iou[d]), 3),
            "object": name,
            "reason": _reason(float(nearest.own_iou[d]), float(nearest.iou[d]), name),
        }

    missed = _missed_objects(matches, threshold)[:EXAMPLES_PER_KIND]
    return {
        "false": [of_detection(d) for d in _by_score(false & ~confused, matches.scores)],
        "missed": [_missed_example(truth, matches, g) for g in missed.tolist()],
        "confused": [of_detection(d) for d in _by_score(confused, matches.scores)],
    }


def _missed_objects(matches: Matches, threshold: float) -> IntArray:
    """Objects that no detection above the threshold matches, the largest first."""
    objects = matches.objects
    matched = np.zeros(len(objects.labels), dtype=bool)
    matched[matches.object_rows[matches.hits[0] & (matches.scores >= threshold)]] = True
    missed = np.flatnonzero(objects.counted & ~matched)
    areas = (objects.boxes[missed, 2:] - objects.boxes[missed, :2]).prod(axis=1)
    return missed[np.argsort(-areas, kind="stable")]


def _missed_example(truth: GroundTruth, matches: Matches, g: int) -> dict[str, Any]:
    return {
        **_image(truth, matches.objects.images[g]),
        "box": matches.objects.boxes[g].round(1).tolist(),
        "class": truth.class_names[matches.objects.labels[g]],
        "reason": "no detection of its class above the threshold",
    }


def _image(truth: GroundTruth, image: int) -> dict[str, Any]:
    """Position of an image, and its id in the user's files."""
    return {"image": int(image), "image_id": truth.image_id(int(image))}


def boxes_of_image(
    truth: GroundTruth, results: FloatArray, threshold: float, image: int
) -> dict[str, list[dict[str, Any]]]:
    """All objects of an image and its detections above a score."""
    rows = truth.rows(image)
    shown = results[(results[:, 0] == image) & (results[:, 5] >= threshold)]
    boxes, labels = truth.boxes(rows).round(1).tolist(), truth.labels[rows].tolist()
    return {
        "objects": [
            {"box": box, "class": truth.class_names[label]}
            for box, label in zip(boxes, labels, strict=True)
        ],
        "detections": [
            {"box": box, "class": truth.class_names[int(row[6])], "score": float(row[5])}
            for box, row in zip(xywh_to_xyxy(shown[:, 1:5]).round(1).tolist(), shown, strict=True)
        ],
    }


def _reason(own_iou: float, iou: float, other: str | None) -> str:
    if own_iou >= ON_OBJECT_IOU:
        return "duplicate detection of an object"
    if own_iou >= BESIDE_OBJECT_IOU:
        return f"poorly localized: IoU {own_iou:.2f}"
    if iou >= ON_OBJECT_IOU:
        return f"the object is: {other}"
    if iou < BESIDE_OBJECT_IOU:
        return "background"
    return f"beside an object of another class ({other}): IoU {iou:.2f}"


def _by_score(chosen: BoolArray, scores: FloatArray) -> list[int]:
    rows = np.flatnonzero(chosen)
    order: list[int] = rows[np.argsort(-scores[rows], kind="stable")][:EXAMPLES_PER_KIND].tolist()
    return order


def _groups(keys: IntArray) -> dict[int, IntArray]:
    """Positions by key, without negative keys."""
    if not len(keys):
        return {}
    order = np.argsort(keys, kind="stable")
    values, starts = np.unique(keys[order], return_index=True)
    parts = np.split(order, starts[1:])
    return {key: part for key, part in zip(values.tolist(), parts, strict=True) if key >= 0}
