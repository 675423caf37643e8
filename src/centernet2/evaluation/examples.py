"""The most telling mistakes: false detections, missed objects and confused classes."""

from typing import Any, NamedTuple

import numpy as np

from centernet2.evaluation.ground_truth import FloatArray, GroundTruth, pairwise_overlap
from centernet2.evaluation.matching import IntArray, Matches

SHOWN = 12  # of each kind
ON_OBJECT = 0.5  # overlap
TOUCHING = 0.1


class Overlaps(NamedTuple):
    """The object that each detection [D] overlaps most, of any class and of its own."""

    best: FloatArray  # [D] overlap
    best_label: IntArray  # [D]; -1 where there is none
    own: FloatArray  # [D] overlap with the nearest object of the detection's own class


def overlaps_of(matches: Matches, results: FloatArray) -> Overlaps:
    """Compares the detections with all objects of their image, crowds left out."""
    boxes = _corners(results[matches.rows])
    best, own = np.zeros(len(boxes)), np.zeros(len(boxes))
    best_label = np.full(len(boxes), -1)
    rows_of = _groups(matches.images)
    objects_of = _groups(np.where(matches.objects.counted, matches.objects.images, -1))
    for image, rows in rows_of.items():
        objects = objects_of.get(image)
        if objects is None:
            continue
        labels = matches.objects.labels[objects]
        overlap = pairwise_overlap(boxes[rows], matches.objects.boxes[objects])  # [D, G]
        best[rows], best_label[rows] = overlap.max(axis=1), labels[overlap.argmax(axis=1)]
        own[rows] = np.where(labels == matches.labels[rows][:, None], overlap, 0).max(axis=1)
    best_label[best == 0] = -1
    return Overlaps(best, best_label, own)


def find_examples(
    truth: GroundTruth, results: FloatArray, matches: Matches, overlaps: Overlaps, threshold: float
) -> dict[str, list[dict[str, Any]]]:
    """Up to 12 examples of each kind: the surest false detections and confusions, the largest missed objects."""
    false = ~matches.hits[0] & ~matches.ignored[0] & (matches.scores >= threshold)
    confused = (
        false
        & (overlaps.best >= ON_OBJECT)
        & (overlaps.best_label != matches.labels)
        & (overlaps.own < ON_OBJECT)
    )
    boxes = _corners(results[matches.rows])

    def of_detection(d: int) -> dict[str, Any]:
        other = int(overlaps.best_label[d])
        name = truth.class_names[other] if other >= 0 else None
        return {
            "image_id": int(truth.image_ids[matches.images[d]]),
            "box": boxes[d].round(1).tolist(),
            "class": truth.class_names[matches.labels[d]],
            "score": round(float(matches.scores[d]), 4),
            "overlap": round(float(overlaps.best[d]), 3),
            "object": name,
            "reason": _reason(float(overlaps.own[d]), float(overlaps.best[d]), name),
        }

    def of_object(g: int) -> dict[str, Any]:
        return {
            "image_id": int(truth.image_ids[matches.objects.images[g]]),
            "box": matches.objects.boxes[g].round(1).tolist(),
            "class": truth.class_names[matches.objects.labels[g]],
            "reason": "no detection of its class above the threshold",
        }

    found = np.zeros(len(matches.objects.labels), dtype=bool)
    found[matches.found[matches.hits[0] & (matches.scores >= threshold)]] = True
    missed = np.flatnonzero(matches.objects.counted & ~found)
    areas = (matches.objects.boxes[missed, 2:] - matches.objects.boxes[missed, :2]).prod(axis=1)
    return {
        "false": [of_detection(d) for d in _surest(false & ~confused, matches.scores)],
        "missed": [
            of_object(g) for g in missed[np.argsort(-areas, kind="stable")][:SHOWN].tolist()
        ],
        "confused": [of_detection(d) for d in _surest(confused, matches.scores)],
    }


def boxes_of_image(
    truth: GroundTruth, results: FloatArray, threshold: float, image_id: int
) -> dict[str, list[dict[str, Any]]]:
    """All objects of an image and its detections above a score."""
    image = int(np.flatnonzero(truth.image_ids == image_id)[0])
    rows = slice(int(truth.offsets[image]), int(truth.offsets[image + 1]))
    names = dict(zip(truth.category_ids, truth.class_names, strict=True))
    found = results[(results[:, 0] == image_id) & (results[:, 5] >= threshold)]
    return {
        "objects": [
            {"box": box, "class": truth.class_names[label]}
            for box, label in zip(
                truth.boxes[rows].round(1).tolist(), truth.labels[rows].tolist(), strict=True
            )
        ],
        "detections": [
            {"box": box, "class": names[int(row[6])], "score": float(row[5])}
            for box, row in zip(_corners(found).round(1).tolist(), found, strict=True)
        ],
    }


def _reason(own: float, best: float, other: str | None) -> str:
    if own >= ON_OBJECT:
        return "second box on an object"
    if own >= TOUCHING:
        return f"poorly placed: overlap {own:.2f}"
    if best >= ON_OBJECT:
        return f"the object is: {other}"
    return (
        "nothing there"
        if best < TOUCHING
        else f"beside an object of another class ({other}): overlap {best:.2f}"
    )


def _surest(chosen: np.ndarray[Any, np.dtype[np.bool_]], scores: FloatArray) -> list[int]:
    rows = np.flatnonzero(chosen)
    order: list[int] = rows[np.argsort(-scores[rows], kind="stable")][:SHOWN].tolist()
    return order


def _groups(keys: IntArray) -> dict[int, IntArray]:
    """Positions by key; negative keys are left out."""
    if not len(keys):
        return {}
    order = np.argsort(keys, kind="stable")
    values, starts = np.unique(keys[order], return_index=True)
    parts = np.split(order, starts[1:])
    return {key: part for key, part in zip(values.tolist(), parts, strict=True) if key >= 0}


def _corners(results: FloatArray) -> FloatArray:  # [D, 4] xyxy
    return np.concatenate([results[:, 1:3], results[:, 1:3] + results[:, 3:5]], axis=1)
