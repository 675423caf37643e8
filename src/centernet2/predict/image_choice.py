"""Which unlabelled images to label next: those whose objects tell a detector most.

An object is uncertain where the first stage sees something and the second one does not know its
class, or where its score is near the threshold. The chosen images are to cover the uncertain
objects of all images: an object is covered as far as one of a chosen image has similar RoI
features. So an image counts for many objects, and a second one of the same kind adds little. The
greedy choice is within 1 - 1/e of the best one (facility location, a submodular function).

The objects of each class count the same together, as the AP of each class does: otherwise those of
the most frequent one would choose alone. A class of less uncertainty than one object has counts
less: it may be seen by mistake.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from centernet2.ops.box_arrays import distinct_rows
from centernet2.predict.prediction import Prediction
from centernet2.score_thresholds import Resolved
from centernet2.spelling import counted
from centernet2.structures import FloatArray

SAME_OBJECT_IOU = 0.5
OBJECTS_PER_IMAGE = 50  # the most uncertain ones
COVERED_OBJECTS = 4000  # the most uncertain ones of each class, which the choice is to cover
FULL_CLASS = 1.0  # uncertainty of a class with which it counts as much as any other
MOST_PAIRS = 50_000_000  # of images and covered objects
LOWEST_THRESHOLD, HIGHEST_THRESHOLD = 0.05, 0.95  # near which a score is uncertain
UNCERTAIN = 0.5  # from which an object is counted in a reason
NEW = 0.5  # share of its uncertainty that an unusual image adds


class UncertainObjects(NamedTuple):
    """The K most uncertain objects that a detector sees in an image."""

    what: FloatArray  # [K] in 0..1: something is there, but of which class?
    whether: FloatArray  # [K] in 0..1: is something there?
    features: NDArray[np.float32]  # [K, channels] of the RoIs
    names: list[str]  # the best class of each

    @property
    def weights(self) -> FloatArray:  # [K]
        """How uncertain each object is."""
        return np.maximum(self.what, self.whether)


class ChosenImage(NamedTuple):
    """An image to label, and why."""

    image: int  # in the list of images
    gain: float  # share of all uncertainty that it covers, beyond the images before it
    reason: str


def uncertain_objects(prediction: Prediction, threshold: Resolved) -> UncertainObjects:
    """Return the uncertain objects of a prediction of `Predictor.embed`, each once.

    Args:
        threshold: score from which detections are shown.
    """
    own = prediction[distinct_rows(prediction.boxes.astype(np.float64), SAME_OBJECT_IOU)]
    scores = own.scores.astype(np.float64)
    limits = np.array(threshold)[own.labels] if isinstance(threshold, tuple) else threshold
    limits = np.clip(limits, LOWEST_THRESHOLD, HIGHEST_THRESHOLD)
    what = own.objectness.astype(np.float64) * (1 - own.class_probability)
    whether = np.minimum(scores / limits, (1 - scores) / (1 - limits))
    rows = np.argsort(-np.maximum(what, whether), kind="stable")[:OBJECTS_PER_IMAGE]
    names = own.names
    return UncertainObjects(
        what[rows], whether[rows], own.embeddings[rows], [names[row] for row in rows]
    )


def choose_images(images: Sequence[UncertainObjects], count: int) -> Iterator[ChosenImage]:
    """Yield at most `count` images, the one that tells most first.

    Args:
        images: the uncertain objects of each image.
        count: number of images.
    """
    covered_rows, weights, factors = _objects_to_cover(images)
    similarity = _similarities(images, covered_rows)  # [I, T]
    covered = np.zeros(len(weights))
    left = np.ones(len(images), dtype=bool)
    for _ in range(min(count, len(images))):
        gains = np.where(left, np.maximum(similarity - covered, 0) @ weights, -1.0)
        best = int(gains.argmax())
        is_new = gains[best] > NEW * (similarity[best] @ weights) and not left.all()
        reason = _reason(images[best], factors, is_new=is_new)
        yield ChosenImage(best, float(gains[best]), reason)
        covered = np.maximum(covered, similarity[best])
        left[best] = False


def _objects_to_cover(
    images: Sequence[UncertainObjects],
) -> tuple[NDArray[np.intp], FloatArray, dict[str, float]]:
    """Choose T objects, the most uncertain of each class, and weigh them.

    Returns:
        Rows [T] of the objects of all images; their weights [T], whose sum is at most 1; the factor
        of the uncertainty of each class.
    """
    weights = np.concatenate([each.weights for each in images])
    classes, labels = np.unique([n for each in images for n in each.names], return_inverse=True)
    order = np.lexsort((-weights, labels))
    counts = np.bincount(labels, minlength=len(classes))
    ranks = np.empty(len(order), np.intp)  # of each object in its class, the most uncertain first
    ranks[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = np.lexsort((-weights, ranks))[: min(COVERED_OBJECTS, MOST_PAIRS // len(images))]
    totals = np.bincount(labels[rows], weights[rows], minlength=len(classes))
    factors = 1 / (np.maximum(totals, FULL_CLASS) * max(1, len(classes)))
    return rows, weights[rows] * factors[labels[rows]], dict(zip(classes, factors, strict=True))


def _similarities(images: Sequence[UncertainObjects], rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return how well each of I images covers T objects of all: [I, T] in 0..1."""
    if not len(rows):
        return np.zeros((len(images), 0), np.float32)
    features = [each.features for each in images]
    mean = np.concatenate(features).mean(axis=0)
    unit = [_unit(each - mean) for each in features]
    covered = np.concatenate(unit)[rows]  # [T, channels]
    nothing = np.zeros((1, len(rows)), np.float32)
    return np.stack([np.concatenate([each @ covered.T, nothing]).max(axis=0) for each in unit])


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def _reason(objects: UncertainObjects, factors: Mapping[str, float], *, is_new: bool) -> str:
    """Say in some words why an image was chosen.

    Args:
        factors: of the uncertainty of each class.
    """
    if not len(objects.names):
        return "nothing is seen"
    kinds = {"of unclear class": objects.what, "near the threshold": objects.whether}
    kind, values = max(kinds.items(), key=lambda item: float(item[1].sum()))
    rows = np.flatnonzero(values >= min(UNCERTAIN, values.max()))
    by_class: Counter[str] = Counter()
    for row in rows:
        by_class[objects.names[row]] += values[row] * factors[objects.names[row]]
    name, _ = by_class.most_common(1)[0]
    novelty = ", unlike those before" if is_new else ""
    return f"{counted(len(rows), 'object')} {kind}, such as {name}{novelty}"
