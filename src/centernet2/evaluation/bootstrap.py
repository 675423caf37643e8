"""Paired bootstrap over images (Efron and Tibshirani, 1993, chapter 13).

Is a difference between two detectors real? The images are drawn again many times, with replacement,
and both detectors are evaluated on the same draws. The spread of the difference tells how much it
depends on which images happen to be in the data set.
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich import get_console
from rich.progress import track

from centernet2.evaluation.curves import RECALLS
from centernet2.evaluation.ground_truth import GroundTruth
from centernet2.evaluation.matching import Matches, match_detections
from centernet2.structures import BoolArray, FloatArray, IntArray

COCO_IOUS = tuple(np.linspace(0.5, 0.95, 10).tolist())  # COCO's to the last digit
# metric -> which of these thresholds
SUMMARY_IOUS = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}


class Difference(NamedTuple):
    """A metric of two detectors in percent, and the interval of their difference."""

    first: float
    second: float
    low: float  # of second - first
    high: float

    @property
    def is_real(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


class _Class(NamedTuple):
    """The D detections of a class by descending score, and its objects.

    Precision peaks at right detections, so only their positions are kept: H, padded, at each of T
    IoU thresholds. There are no more of them than objects, far fewer than detections.
    """

    images: IntArray  # [D]
    hits: IntArray  # [T, H] positions of the right detections among D
    is_hit: BoolArray  # [T, H] the others are padding
    ignored: IntArray  # [T, K] positions of the ignored detections
    is_ignored: BoolArray  # [T, K]
    ignored_before: IntArray  # [T, H] number of them before a right one
    objects: IntArray  # [I] by image


def compare_pairs(
    truth: GroundTruth,
    pairs: Sequence[tuple[FloatArray, FloatArray]],
    *,
    samples: int,
    confidence: float,
    seed: int,
) -> dict[str, Difference]:
    """Compare pairs of detectors by their means: {"AP": ..., "AP/<class>": ...}.

    Args:
        pairs: COCO results [D, 7] of both detectors of each pair.
        confidence: share of the draws within the interval, such as 0.95.
    """
    prepared = [[_prepare(truth, results) for results in pair] for pair in pairs]
    count = len(truth)

    def means(weights: IntArray) -> FloatArray:  # [2, F]
        metrics = [[_metrics(classes, weights) for classes in pair] for pair in prepared]
        means: FloatArray = np.mean(metrics, axis=0)
        return means

    first, second = means(np.ones(count, dtype=np.int64))
    rng = np.random.default_rng(seed)
    drawn, console = [], get_console()
    for _ in track(
        range(samples), "drawing images", console=console, disable=not console.is_interactive
    ):
        weights = np.bincount(rng.integers(0, count, count), minlength=count)
        one, other = means(weights)
        drawn.append(other - one)
    tail = 100 * (1 - confidence) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # about metrics that no draw has: NaN
        low, high = np.nanpercentile(drawn, [tail, 100 - tail], axis=0)
    names = [*SUMMARY_IOUS, *(f"AP/{name}" for name in truth.class_names)]
    return {
        name: Difference(float(first[i]), float(second[i]), float(low[i]), float(high[i]))
        for i, name in enumerate(names)
    }


def _prepare(truth: GroundTruth, results: FloatArray) -> list[_Class]:
    matches = match_detections(truth, results, iou_thresholds=COCO_IOUS)
    return [_class(matches, label, len(truth)) for label in range(len(truth.class_names))]


def _class(matches: Matches, label: int, num_images: int) -> _Class:
    rows = np.flatnonzero(matches.labels == label)
    rows = rows[np.argsort(-matches.scores[rows], kind="stable")]
    objects = matches.objects
    own = objects.images[(objects.labels == label) & objects.counted]
    hits, is_hit = _places(matches.hits[:, rows])
    ignored, is_ignored = _places(matches.ignored[:, rows])
    rows_of_iou = zip(ignored, is_ignored, hits, strict=True)
    before = np.stack([np.searchsorted(at[real], each) for at, real, each in rows_of_iou])
    images = np.bincount(own, minlength=num_images)
    return _Class(matches.images[rows], hits, is_hit, ignored, is_ignored, before, images)


def _places(marked: BoolArray) -> tuple[IntArray, BoolArray]:
    """Return the marked positions of each row [T, D], padded: [T, K], valid [T, K]."""
    counts = marked.sum(axis=1)
    real = np.arange(counts.max(initial=0)) < counts[:, None]
    places = np.zeros(real.shape, dtype=np.int64)
    places[real] = np.nonzero(marked)[1]
    return places, real


def _metrics(classes: Sequence[_Class], weights: IntArray) -> FloatArray:  # [F]
    """Compute AP, AP50, AP75 and AP by class in percent; NaN without objects."""
    precision = np.array([weighted_precision(each, weights) for each in classes])  # [C, T]
    known = precision[~np.isnan(precision[:, 0])]
    summary = [known[:, part].mean() if len(known) else np.nan for part in SUMMARY_IOUS.values()]
    return 100 * np.array([*summary, *precision.mean(axis=1)])


def weighted_precision(each: _Class, weights: IntArray) -> FloatArray:  # [T]
    """COCO's average precision of a class at each IoU threshold, with image weights."""
    total = int(each.objects @ weights)
    if not total:
        return np.full(len(each.hits), np.nan)
    count = weights[each.images]  # [D]
    right = (count[each.hits] * each.is_hit).cumsum(axis=1)  # [T, H]
    kept = count.cumsum()[each.hits]
    if each.ignored.size:
        passed = (count[each.ignored] * each.is_ignored).cumsum(axis=1)
        kept = kept - np.take_along_axis(
            np.insert(passed, 0, 0, axis=1), each.ignored_before, axis=1
        )
    precision = np.where(each.is_hit, right / np.maximum(kept, 1), 0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
    places = np.stack(
        [np.searchsorted(recall, RECALLS, side="left") for recall in right / total]
    )  # [T, 101]
    precisions: FloatArray = np.take_along_axis(best, places, axis=1).mean(axis=1)
    return precisions
