"""COCO's matching of detections to ground truth, as columns."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from hotcoco import COCOeval
from numpy.typing import NDArray

from centernet2.evaluation.coco_metrics import detection_limit, evaluator_of
from centernet2.evaluation.ground_truth import GroundTruth, as_coco, load_detections
from centernet2.ops.box_arrays import xywh_to_xyxy
from centernet2.structures import BoolArray, FloatArray, IntArray

ALL_AREAS = [0.0, 1e10]  # pixels^2
# The evaluator returns Python objects of some 20 kB for each, and looks through all annotations.
IMAGES_AT_ONCE = 50_000


class MatchedObjects(NamedTuple):
    """The G ground-truth objects, crowds among them."""

    boxes: FloatArray  # [G, 4] xyxy
    labels: IntArray  # [G]
    images: IntArray  # [G] index
    counted: BoolArray  # [G] whether it counts in recall: no crowd


class Matches(NamedTuple):
    """The D detections that count, and whether each is right at T IoU thresholds.

    They are ordered as COCO accumulates them: by image, class and score.
    """

    rows: IntArray  # [D] in the array of results
    labels: IntArray  # [D]
    images: IntArray  # [D] index
    scores: FloatArray  # [D]
    hits: BoolArray  # [T, D]
    ignored: BoolArray  # [T, D] on a crowd, or of a class that was not annotated in the image
    object_rows: IntArray  # [D] the matched object at the first threshold; -1: none
    objects: MatchedObjects

    def totals(self, num_classes: int) -> IntArray:  # [C]
        """Count the objects of each class that should be detected."""
        return np.bincount(self.objects.labels[self.objects.counted], minlength=num_classes)


def match_detections(
    truth: GroundTruth, results: FloatArray, *, iou_thresholds: Sequence[float] = (0.5,)
) -> Matches:
    """Match the detections of each class and image to objects, at each IoU threshold.

    Of an image they are as many as the metric of the data set counts.
    """
    evaluator, parts = _evaluator(truth, results, iou_thresholds), list[Matches]()
    images = evaluator.params.img_ids
    for start in range(0, max(1, len(images)), IMAGES_AT_ONCE):
        evaluator.params.img_ids = images[start : start + IMAGES_AT_ONCE]
        evaluator.evaluate()
        first_object = sum(len(part.objects.labels) for part in parts)
        parts.append(_matches(evaluator.eval_imgs, truth, len(iou_thresholds), first_object))
    columns: Iterable[Any] = zip(*(part[:-1] for part in parts), strict=True)
    objects: Iterable[Any] = zip(*(part.objects for part in parts), strict=True)
    joined = [np.concatenate(column, axis=-1) for column in columns]
    return Matches._make([*joined, MatchedObjects._make(map(np.concatenate, objects))])


def _matches(
    found: Iterable[dict[str, Any] | None], truth: GroundTruth, num_ious: int, first_object: int
) -> Matches:
    """Join what the evaluator found in images, whose objects follow others."""
    pairs = [pair for pair in found if pair is not None]  # an image and a class each
    pairs.sort(key=lambda pair: int(pair["image_id"]))  # stable

    num_detections, num_objects = ([len(pair[key]) for pair in pairs] for key in ("dtIds", "gtIds"))
    labels = np.array([pair["category_id"] for pair in pairs], dtype=np.int64) - 1
    images = np.array([pair["image_id"] for pair in pairs], dtype=np.int64) - 1
    object_ids = _joined(pair["gtIds"] for pair in pairs)
    objects = MatchedObjects(
        xywh_to_xyxy(truth.xywh[object_ids - 1]),  # objects are numbered from 1 in their order
        np.repeat(labels, num_objects),
        np.repeat(images, num_objects),
        _joined(pair["gtInDenominator"] for pair in pairs).astype(bool),
    )
    hits, ignored = (
        np.stack([_joined(pair[key][t] for pair in pairs) for t in range(num_ious)]).astype(bool)
        for key in ("dtMatched", "dtIgnore")
    )
    matched_ids = _joined(pair["dtMatches"][0] for pair in pairs)
    return Matches(
        _joined(pair["dtIds"] for pair in pairs) - 1,  # results are numbered from 1 in their order
        np.repeat(labels, num_detections),
        np.repeat(images, num_detections),
        _joined((pair["dtScores"] for pair in pairs), np.float64),
        hits & ~ignored,
        ignored,
        _positions(object_ids, matched_ids, hits[0], first_object),
        objects,
    )


def _evaluator(
    truth: GroundTruth, results: FloatArray, iou_thresholds: Sequence[float]
) -> COCOeval:
    ground_truth = as_coco(truth)
    evaluator = evaluator_of(truth, ground_truth, load_detections(ground_truth, results))
    parameters = evaluator.params
    parameters.iou_thrs, parameters.max_dets = list(iou_thresholds), [detection_limit(truth)]
    parameters.area_rng, parameters.area_rng_lbl = [ALL_AREAS], ["all"]
    return evaluator


def _joined(lists: Iterable[Iterable[Any]], dtype: type[np.generic] = np.int64) -> NDArray[Any]:
    return np.array([*chain.from_iterable(lists)], dtype)


def _positions(ids: IntArray, wanted: IntArray, present: BoolArray, first: int) -> IntArray:
    """Find the position of each wanted id, from `first`; -1 if it is not present."""
    if not len(ids):
        return np.full(len(wanted), -1)
    order = np.argsort(ids)
    places = order[np.searchsorted(ids, wanted, sorter=order).clip(max=len(ids) - 1)]
    return np.where(present, first + places, -1)
