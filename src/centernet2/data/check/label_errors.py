"""Labels of a data set that are likely to be wrong, according to a detector.

Every label and every detection without a label gets a suspicion in 0..1. The detector need not be
calibrated: it is compared with what it says about the other labels of the class. So suspicions of
all kinds can be ranked together, and a detector that is unsure about small objects does not suspect
all of them.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from centernet2.ops.box_arrays import box_iou_matrix, distinct_rows
from centernet2.structures import BoolArray, FloatArray, IntArray

SAME_OBJECT_IOU = 0.5
LEAST_LABELS = 5  # of a class, for values of its own
LOOSE_DECAY = 4.0  # of the agreement, per deviation of a typical box
LEAST_DEVIATION = 0.02  # of a typical box, in 1 - IoU
SIMILAR_SCORE = 0.1  # largest difference between the scores of similar detections
PRIOR_COUNT = 5  # detections for which the score stands in for the share that has a label

LEAST_PROBABILITY = 1e-6  # by which others are divided

ErrorKind = Literal["missing", "wrong class", "loose box", "spurious"]
Box = tuple[float, float, float, float]  # xyxy


class LabelView(NamedTuple):
    """What a detector says about the G labels of an image, and its D detections.

    Boxes are in pixels of the image file, labels are those of the data set.
    """

    image: int  # in the data set
    rows: IntArray  # [G] of the data set
    labels: IntArray  # [G]
    given: FloatArray  # [G, 4] the boxes of the labels
    refined: FloatArray  # [G, 4] the same by the second stage
    probabilities: FloatArray  # [G, C] of the classes; the rest up to 1 is background
    found: FloatArray  # [D, 4] detections, best first
    found_scores: FloatArray  # [D]
    found_labels: IntArray  # [D]


class LabelError(NamedTuple):
    """A label that may be wrong, and what the detector suggests."""

    kind: ErrorKind
    suspicion: float  # in 0..1
    reason: str  # class and score, or what the detector says about the label
    split: str
    image: int  # in the split
    row: int | None  # of the label in the split; None: it is missing
    label: int | None  # suggested class; None: there is no object
    box: Box | None  # suggested; None: that of the label

    def __str__(self) -> str:
        return f"{self.kind} {self.suspicion:.2f}: {self.reason}"


def find_label_errors(
    views: Sequence[LabelView], class_names: Sequence[str], split: str
) -> list[LabelError]:
    """Return the main suspicion about each label, and each detection without a label."""
    if not views:
        return []
    errors = chain(_label_errors(views, class_names), _missing_labels(views, class_names))
    return [error._replace(split=split) for error in errors]


def share_of_agreement(views: Sequence[LabelView]) -> float:
    """Return the share of the labels whose class the detector finds most probable."""
    agrees = [view.probabilities.argmax(axis=1) == view.labels for view in views]
    found = np.concatenate(agrees) if agrees else np.zeros(0)
    return float(found.mean()) if len(found) else 1.0


def _label_errors(views: Sequence[LabelView], class_names: Sequence[str]) -> Iterator[LabelError]:
    """Yield an error for each label, of the most suspicious kind."""
    labels, probabilities = _join(views, "labels"), _join(views, "probabilities")
    if not len(labels):
        return
    refined = _join(views, "refined")
    iou = np.concatenate([np.diagonal(box_iou_matrix(v.given, v.refined)) for v in views])
    objects = probabilities.sum(axis=1).clip(LEAST_PROBABILITY, 1)  # [B]
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]  # [B]
    suspicions = _suspicions(labels, objects, own, iou, len(class_names))
    others = probabilities.copy()
    np.put_along_axis(others, labels[:, None], -1, axis=1)
    best = others.argmax(axis=1)  # [B] of the other classes
    places = ((view.image, row) for view in views for row in view.rows.tolist())
    for b, (image, row) in enumerate(places):
        kind = max(suspicions, key=lambda each: suspicions[each][b])
        name, box = class_names[labels[b]], None
        label: int | None = int(labels[b])
        if kind == "spurious":
            reason, label = f"{name}, object {objects[b]:.2f}", None
        elif kind == "wrong class":
            reason = f"{name} {own[b]:.2f}, {class_names[best[b]]} {others[b, best[b]]:.2f}"
            label = int(best[b])
        else:
            reason = f"{name}, IoU {iou[b]:.2f}"
            box = cast(Box, tuple(refined[b].tolist()))
        suspicion = float(suspicions[kind][b])
        yield LabelError(kind, suspicion, reason, "", image, row, label, box)


def _suspicions(
    labels: IntArray, objects: FloatArray, own: FloatArray, iou: FloatArray, num_classes: int
) -> dict[ErrorKind, FloatArray]:
    """Return the suspicion [B] of each kind of error.

    Args:
        labels: [B].
        objects: [B] probability of an object there.
        own: [B] probability of the class of the label.
        iou: [B] of the box of the label with the one of the detector.
        num_classes: of the data set.
    """
    deviation = (1 - iou).clip(min=LEAST_DEVIATION)
    classes = (own / objects).clip(min=LEAST_PROBABILITY)
    agreement: dict[ErrorKind, FloatArray] = {
        "spurious": objects / _typical(objects, labels, num_classes),
        "wrong class": classes / _typical(classes, labels, num_classes),
        "loose box": LOOSE_DECAY ** (1 - deviation / _typical(deviation, labels, num_classes)),
    }
    return {kind: (1 - each.clip(max=1)) ** 2 for kind, each in agreement.items()}


def _typical(values: FloatArray, labels: IntArray, num_classes: int) -> FloatArray:  # [B]
    """Return for each label the median of its class; of all labels if it has few."""
    medians = np.full(num_classes, np.median(values))
    for label in range(num_classes):
        own = values[labels == label]
        if len(own) >= LEAST_LABELS:
            medians[label] = np.median(own)
    return medians[labels]


def _missing_labels(views: Sequence[LabelView], class_names: Sequence[str]) -> Iterator[LabelError]:
    """Yield an error for each detection without a label.

    The suspicion is the share of similar detections of the class that have a label.
    """
    views = [_without_duplicates(view) for view in views]
    labeled = np.concatenate([_are_labeled(view) for view in views])  # [D]
    labels, scores = _join(views, "found_labels"), _join(views, "found_scores")
    suspicions = np.zeros(len(scores))
    for label in range(len(class_names)):
        own = labels == label
        suspicions[own] = _labeled_shares(scores[own], labeled[own])
    images = np.repeat([view.image for view in views], [len(view.found) for view in views])
    boxes = _join(views, "found")
    for d in np.flatnonzero(~labeled).tolist():
        reason = f"{class_names[labels[d]]}, score {scores[d]:.2f}"
        box = cast(Box, tuple(boxes[d].tolist()))
        suspicion, image = float(suspicions[d]), int(images[d])
        yield LabelError("missing", suspicion, reason, "", image, None, int(labels[d]), box)


def _labeled_shares(scores: FloatArray, labeled: BoolArray) -> FloatArray:
    """Return for each detection [D] of a class the labeled share of similar scores.

    Where they are few, the share tends to the score.
    """
    order = np.argsort(scores)
    count = np.concatenate([[0], np.cumsum(labeled[order])])  # of those with a label, by score
    first = np.searchsorted(scores[order], scores - SIMILAR_SCORE, side="left")
    end = np.searchsorted(scores[order], scores + SIMILAR_SCORE, side="right")
    with_label = count[end] - count[first]
    shares: FloatArray = (with_label + PRIOR_COUNT * scores) / (end - first + PRIOR_COUNT)
    return shares


def _without_duplicates(view: LabelView) -> LabelView:
    """Leave out the detections on the object of a better one, of any class."""
    rows = distinct_rows(view.found, SAME_OBJECT_IOU)
    columns = ("found", "found_scores", "found_labels")
    return view._replace(**{name: getattr(view, name)[rows] for name in columns})


def _are_labeled(view: LabelView) -> BoolArray:  # [D]
    """Whether each detection is on an object that has a label, perhaps a loose one."""
    boxes = np.concatenate([view.given, view.refined])
    on_label = box_iou_matrix(view.found, boxes) >= SAME_OBJECT_IOU  # [D, 2 G]
    return np.asarray(on_label.any(axis=1))


def _join(views: Sequence[LabelView], column: str) -> NDArray[Any]:
    return np.concatenate([getattr(view, column) for view in views])
