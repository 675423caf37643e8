"""Which detections are right and which objects were found: COCO's matching as columns."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from hotcoco import COCO, COCOeval
from numpy.typing import NDArray

from centernet2.evaluation.ground_truth import FloatArray, GroundTruth, as_coco, is_federated

EVERY_SIZE = [0.0, 1e10]  # pixels^2
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


class Objects(NamedTuple):
    """The G objects of the ground truth, crowds among them."""

    boxes: FloatArray  # [G, 4] xyxy
    labels: IntArray  # [G]
    images: IntArray  # [G] index
    counted: BoolArray  # [G] should be found: no crowd
    found: BoolArray  # [G] at the first of the overlaps


class Matches(NamedTuple):
    """The D detections that count, the best of each image and class, and what became of them at each of T overlaps.

    They stand as COCO accumulates them: by image, the detections of an image and class by score.
    """

    rows: IntArray  # [D] in the array of results
    labels: IntArray  # [D]
    images: IntArray  # [D] index
    scores: FloatArray  # [D]
    hits: BoolArray  # [T, D]
    ignored: BoolArray  # [T, D] neither right nor false: on a crowd, or what the annotators have not looked for
    found: (
        IntArray  # [D] the object found, at the first of the overlaps: index in `objects`; -1: none
    )
    objects: Objects

    def totals(self, num_classes: int) -> IntArray:
        """How many objects there are to find: [C]."""
        return np.bincount(self.objects.labels[self.objects.counted], minlength=num_classes)


def match_detections(
    truth: GroundTruth,
    results: FloatArray,
    *,
    overlaps: Sequence[float] = (0.5,),
    max_detections: int = 100,
) -> Matches:
    """Matches the detections of each class and image to objects, for each of the least overlaps."""
    ground_truth = as_coco(truth)
    federated = is_federated(ground_truth)
    detections = ground_truth.load_res(results)
    if federated:  # a limit over all classes
        detections = detections.cap_detections_per_image(max_detections)
    evaluator = COCOeval(ground_truth, detections, "bbox", lvis_style=federated)
    parameters = evaluator.params
    parameters.img_ids, parameters.cat_ids = (
        sorted(truth.image_ids.tolist()),
        sorted(truth.category_ids),
    )
    parameters.iou_thrs, parameters.max_dets = list(overlaps), [max_detections]
    parameters.area_rng, parameters.area_rng_lbl = [EVERY_SIZE], ["all"]
    evaluator.evaluate()
    pairs = [pair for pair in evaluator.eval_imgs if pair is not None]  # an image and a class each
    pairs.sort(key=lambda pair: int(pair["image_id"]))  # stable

    label_of = {category: label for label, category in enumerate(truth.category_ids)}
    image_of = {image_id: index for index, image_id in enumerate(truth.image_ids.tolist())}
    num_detections, num_objects = ([len(pair[key]) for pair in pairs] for key in ("dtIds", "gtIds"))
    labels = np.array([label_of[pair["category_id"]] for pair in pairs], dtype=np.int64)
    images = np.array([image_of[pair["image_id"]] for pair in pairs], dtype=np.int64)
    object_ids = _column(pairs, "gtIds")
    objects = Objects(
        _boxes(ground_truth, object_ids),
        np.repeat(labels, num_objects),
        np.repeat(images, num_objects),
        _column(pairs, "gtInDenominator").astype(bool),
        _column((pair["gtMatched"][0] for pair in pairs), None).astype(bool),
    )
    hits = np.stack(
        [_column((pair["dtMatched"][t] for pair in pairs), None) for t in range(len(overlaps))]
    )
    ignored = np.stack(
        [_column((pair["dtIgnore"][t] for pair in pairs), None) for t in range(len(overlaps))]
    )
    return Matches(
        _column(pairs, "dtIds") - 1,  # results are numbered from 1 in their order
        np.repeat(labels, num_detections),
        np.repeat(images, num_detections),
        _column(pairs, "dtScores").astype(np.float64),
        hits.astype(bool) & ~ignored.astype(bool),
        ignored.astype(bool),
        _positions(
            object_ids,
            _column((pair["dtMatches"][0] for pair in pairs), None),
            hits[0].astype(bool),
        ),
        objects,
    )


def _column(pairs: Iterable[Any], key: str | None) -> NDArray[Any]:
    """The values of all pairs, one after the other."""
    values = [value for pair in pairs for value in (pair if key is None else pair[key])]
    return np.array(values, dtype=np.float64 if key == "dtScores" else np.int64)


def _boxes(ground_truth: COCO, ids: IntArray) -> FloatArray:  # [G, 4] xyxy
    boxes = np.array(
        [each["bbox"] for each in ground_truth.load_anns(ids.tolist())], dtype=np.float64
    ).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _positions(ids: IntArray, wanted: IntArray, present: BoolArray) -> IntArray:
    """Where the wanted ids stand among `ids`; -1 for those that are not present."""
    if not len(ids):
        return np.full(len(wanted), -1)
    order = np.argsort(ids)
    places = order[np.searchsorted(ids, wanted, sorter=order).clip(max=len(ids) - 1)]
    return np.where(present, places, -1)
