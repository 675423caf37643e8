"""Follow the objects of a film: each detection gets the number of its object."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from centernet2.ops.box_arrays import BoxArray, box_iou_matrix
from centernet2.ops.row_pairs import keep_best
from centernet2.predict.films import DEFAULT_RATE
from centernet2.predict.prediction import Prediction
from centernet2.score_thresholds import NO_THRESHOLD, Resolved
from centernet2.structures import BoolArray

UNCONFIRMED = -1  # number of a detection of no confirmed object
LOWEST_SCORE = 0.1  # of detections that continue an object, but do not begin one
CONFIRMING_FRAMES = 3  # in a row in which an object must be seen
HIDDEN_SECONDS = 2.0  # that an object may be hidden and still keep its number
LIBRARY_RATE = 30  # frames per second in which the library counts its buffer
STRONG, WEAK = 1.0, 0.5  # confidences that the library sees
# GIoU (arXiv 1902.09630) of a detection with the place where its object is expected: it is below 0
# where they do not overlap, and -0.5 where two equal squares are two sides apart. An object slows
# down, for the tracker, as it disappears behind another one, and reappears ahead of that place.
LEAST_GIOU = -0.5
SAME_OBJECT_IOU = 0.8  # IoU of two detections, of whatever class, that show one object


class Tracker:
    """ByteTrack (arXiv 2110.06864) of the package `trackers`, for one film.

    Detections that reach the score threshold begin objects. Weaker ones continue an object that is
    known, as when it is partly hidden, and are left out otherwise. Of detections that show one
    object as several classes, only the best has its number.

    Args:
        threshold: minimum score of detections, for all classes or by label.
    """

    def __init__(self, threshold: Resolved = NO_THRESHOLD) -> None:
        self._threshold = threshold
        trackers = require_trackers()
        self._tracker = trackers.ByteTrackTracker(
            lost_track_buffer=round(HIDDEN_SECONDS * LIBRARY_RATE),
            frame_rate=float(DEFAULT_RATE),
            track_activation_threshold=STRONG,
            high_conf_det_threshold=STRONG,
            minimum_consecutive_frames=CONFIRMING_FRAMES,
            minimum_iou_threshold=LEAST_GIOU,
            iou=trackers.GIoU(),
        )

    def update(self, prediction: Prediction) -> Prediction:
        """Return the prediction of the next frame with `ids`."""
        import supervision

        strong = prediction.reaches(self._threshold)
        boxes = prediction.boxes.astype(np.float64)
        rows = _one_per_object(boxes)
        found = supervision.Detections(
            xyxy=boxes[rows], confidence=np.where(strong[rows], STRONG, WEAK), data={"row": rows}
        )
        tracked = self._tracker.update(found, timestamp=prediction.time)
        ids = np.full(len(prediction), UNCONFIRMED)
        if len(tracked):
            ids[tracked.data["row"]] = tracked.tracker_id
        numbered = replace(prediction, columns={**prediction.columns, "ids": ids})
        kept: BoolArray = strong | (ids != UNCONFIRMED)
        return numbered[kept]


def _one_per_object(boxes: BoxArray) -> NDArray[np.intp]:
    """Return the rows of boxes [D, 4], best first, that coincide with no better one."""
    better, worse = np.nonzero(np.triu(box_iou_matrix(boxes, boxes) > SAME_OBJECT_IOU, k=1))
    return np.flatnonzero(keep_best(len(boxes), better, worse))


def track(
    predictions: Iterable[Prediction], threshold: Resolved = NO_THRESHOLD
) -> Iterator[Prediction]:
    """Yield the predictions of films with `ids`; the numbers begin anew in each film.

    Args:
        predictions: of frames, in order; those below the threshold down to LOWEST_SCORE help.
        threshold: minimum score of detections, for all classes or by label.
    """
    film, last, tracker = None, -1, None
    for prediction in predictions:
        if prediction.frame is None:
            name = prediction.path or "the image"
            raise ValueError(f"{name} is no frame of a film, and only films have tracks")
        if tracker is None or prediction.path != film or prediction.frame <= last:
            tracker = Tracker(threshold)
        film, last = prediction.path, prediction.frame
        yield tracker.update(prediction)


def lowest_threshold(threshold: Resolved) -> Resolved:
    """Return the threshold of the detections that tracking needs."""
    if isinstance(threshold, tuple):
        return tuple(min(each, LOWEST_SCORE) for each in threshold)
    return min(threshold, LOWEST_SCORE)


def require_trackers() -> Any:
    """Import the package that tracks; a ValueError names the extra."""
    try:
        import trackers
    except ImportError as error:
        raise ValueError(
            "tracks need the package trackers; pip install 'centernet2[track]'"
        ) from error
    return trackers
