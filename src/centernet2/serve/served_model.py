"""A detector that the service offers, and the detections that a request wants."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from centernet2.score_thresholds import NO_THRESHOLD, Resolved, parse_thresholds
from centernet2.serve.refusals import unprocessable
from centernet2.serve.request_options import ThresholdOptions, WantedOptions
from centernet2.spelling import did_you_mean, split_names
from centernet2.structures import Pixels
from centernet2.visualize import label_colors, text_color
from centernet2.visualize.colors import Color

if TYPE_CHECKING:
    from centernet2.predict.explanation_sentences import Unexplained
    from centernet2.predict.prediction import Prediction
    from centernet2.predict.predictor import Predictor


class Wanted(NamedTuple):
    """Detections that a request wants."""

    threshold: Resolved = NO_THRESHOLD
    labels: Sequence[int] | None = None  # None: all
    max_detections: int | None = None

    @property
    def floor(self) -> float:
        """Score below which no detection is wanted, of whichever class."""
        return min(self.threshold) if isinstance(self.threshold, tuple) else self.threshold


@dataclass(frozen=True)
class ServedModel:
    """A detector with its name."""

    name: str  # in requests and answers
    predictor: "Predictor"
    # by height and width of an image; images of one bucket may share a batch
    bucket_of: Callable[[int, int], Hashable]
    unexplained: "Unexplained | None" = None  # why it cannot explain a point; None: it can
    sha256: str = ""  # of its weights; empty: they were not checked
    image_size: tuple[int, int] = (64, 64)  # height and width of an image to warm up with

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by label, as detections have them: numbers if the detector has no names."""
        numbers = map(str, range(self.predictor.num_classes or 0))
        return tuple(self.predictor.class_names or numbers)

    def detect(self, images: Sequence[Pixels], floor: float) -> "list[Prediction]":
        """Return the detections of a batch that reach a score."""
        return self.predictor([*images], score_threshold=floor)

    def wanted(self, options: WantedOptions) -> Wanted:
        """Return what a request wants; Refused if the detector has no such class."""
        labels = self._labels_of(options.classes)
        return Wanted(self.threshold(options), labels, options.max_detections)

    def threshold(self, options: ThresholdOptions) -> Resolved:
        """Return the threshold of a request; Refused if the detector has no such class."""
        given = options.score_threshold
        try:
            parsed = None if given is None else parse_thresholds([given], "score_threshold")
            return self.predictor.shown_threshold(parsed)
        except ValueError as error:
            raise unprocessable(str(error)) from error

    def _labels_of(self, words: Sequence[str]) -> list[int] | None:
        names = split_names(words, self.class_names)
        for name in names:
            if name not in self.class_names:
                hint = did_you_mean(name, self.class_names)
                raise unprocessable(f"the model {self.name} has no class '{name[:80]}'{hint}")
        return [self.class_names.index(name) for name in names] or None

    def describe(self) -> dict[str, Any]:
        """Return a record of the model for JSON."""
        threshold = self.predictor.shown_threshold(None)
        labels = range(len(self.class_names))
        return {
            "name": self.name,
            "classes": list(self.class_names),
            "colors": [
                {"fill": _hexadecimal(fill), "text": _hexadecimal(text_color(fill))}
                for fill in label_colors(labels, self.predictor.class_names)
            ],
            "score_threshold": list(threshold) if isinstance(threshold, tuple) else threshold,
            "explains": not self.unexplained,
            **({"sha256": self.sha256} if self.sha256 else {}),
        }


def _hexadecimal(color: Color) -> str:
    return "#" + bytes(color).hex()


def choose_detections(prediction: "Prediction", wanted: Wanted) -> "Prediction":
    """Keep the detections that a request wants."""
    kept = prediction.reaches(wanted.threshold)
    if wanted.labels is not None:
        kept &= np.isin(prediction.labels, wanted.labels)
    return prediction[kept][: wanted.max_detections]
