"""The run of the command `predict`: from sources to files."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from centernet2.builders.prediction_options import DetectionOptions, FilmOptions
from centernet2.files import printable
from centernet2.outputs import writable_folder
from centernet2.predict.counting import Line, Zone, parse_points
from centernet2.predict.films import Film, FilmError, import_av
from centernet2.predict.output_files import KINDS, Outputs, earlier_files, open_outputs
from centernet2.predict.prediction import Prediction
from centernet2.predict.predictor import Predictor
from centernet2.predict.read_sources import film_source
from centernet2.predict.sources import Kind, Source, find_sources
from centernet2.predict.tracking import lowest_threshold, require_trackers, track
from centernet2.progress import with_progress
from centernet2.score_thresholds import (
    Resolved,
    Threshold,
    describe_threshold,
    parse_thresholds,
    require_score,
)
from centernet2.spelling import counted, did_you_mean

SHOWN_FILES = 5
logger = logging.getLogger(__name__)


class Plan(NamedTuple):
    """What a run does, checked before weights are loaded."""

    sources: Sequence[Source]
    folder: Path
    kinds: Sequence[str]
    threshold: Threshold | None  # None: those of the detector
    detection: DetectionOptions
    film: FilmOptions
    counters: Sequence[Line | Zone]

    @property
    def is_tracked(self) -> bool:
        return self.film.track or bool(self.counters)


def plan_prediction(
    words: Sequence[str],
    folder: Path,
    write: Sequence[str] | str,
    score_threshold: Threshold | None,
    detection: DetectionOptions,
    film: FilmOptions,
) -> Plan:
    """Check the options of the command that need no detector; find the sources.

    The arguments are those of `predict`.
    """
    kinds = _split(write)
    for kind in kinds:
        if kind not in KINDS:
            hint = did_you_mean(kind, KINDS)
            raise ValueError(f"--write has '{kind}'; choose of {', '.join(KINDS)}{hint}")
    threshold = _parse_threshold(score_threshold)
    writable_folder(folder, "--output", command="predict", files=earlier_files(folder))
    sources = find_sources(words)
    plan = Plan(sources, folder, kinds, threshold, detection, film, _counters(film))
    if plan.is_tracked:
        require_trackers()
        _require_films(sources)
    if any(each.kind in (Kind.FILM, Kind.STREAM) for each in sources):
        import_av()
    return plan


def _require_films(sources: Sequence[Source]) -> None:
    images = [printable(source.path) for source in sources if source.kind is Kind.IMAGE]
    if images:
        raise ValueError(
            f"{images[0]} is no film, and only films have tracks; leave it out, or leave out "
            "--track, --count-line and --count-zone"
        )


def _counters(film: FilmOptions) -> list[Line | Zone]:
    counters: list[Line | Zone] = []
    if film.count_line is not None:
        start, end = parse_points(film.count_line, "--count-line", least=2)
        counters.append(Line(start, end))
    if film.count_zone is not None:
        counters.append(Zone(parse_points(film.count_zone, "--count-zone", least=3)))
    return counters


def _split(words: Sequence[str] | str) -> list[str]:
    """Split words at commas, as an option takes them that is also repeated."""
    given = [words] if isinstance(words, str) else words
    return [part.strip() for word in given for part in str(word).split(",") if part.strip()]


def _parse_threshold(given: Threshold | None) -> Threshold | None:
    if isinstance(given, list) and any(isinstance(each, str) for each in given):
        return parse_thresholds(given, "--score-threshold")
    if isinstance(given, int | float):
        return require_score(given, "--score-threshold")
    return given


def run_prediction(predictor: Predictor, plan: Plan) -> dict[str, int]:
    """Detect objects in all sources, and write the files of the plan.

    Returns:
        The number of images written, of unreadable sources, and of objects.
    """
    predictor = Predictor(
        predictor.model,
        class_names=predictor.class_names,
        resize=predictor.resize,
        batch_size=plan.detection.batch_size,
        tiling=predictor.tiling,
    )
    threshold = predictor.shown_threshold(plan.threshold)
    classes = _split(plan.detection.classes)
    _require_classes(classes, predictor.class_names or ())
    counter = DetectionCounter()
    with _threads(plan.detection.threads):
        detected = _detect(predictor, plan, threshold, counter)
        predictions = _select(detected, classes, plan, threshold)
        counted = counter.count(_require_any(predictions, len(plan.sources)))
        shown = with_progress(counted, ("predicting", "predicted"), total=_total(plan.sources))
        names = predictor.class_names or ()
        with open_outputs(plan.folder, plan.kinds, names, plan.counters) as outputs:
            for prediction in shown:
                outputs.write(prediction)
    _report(plan, outputs, counter, threshold)
    return {
        "images": outputs.count,
        "skipped": len(counter.failed),
        "objects": counter.objects,
    }


def _detect(
    predictor: Predictor, plan: Plan, threshold: Resolved, counter: "DetectionCounter"
) -> Iterator[Prediction]:
    return predictor.stream(
        plan.sources,
        score_threshold=lowest_threshold(threshold) if plan.is_tracked else threshold,
        on_error=counter.add_failure,
        on_scores=counter.add_scores,
        give_up=plan.film.stream_timeout,
    )


def _select(
    predictions: Iterable[Prediction], classes: Sequence[str], plan: Plan, threshold: Resolved
) -> Iterator[Prediction]:
    """Keep the wanted classes, track, and keep the best detections."""
    wanted = (each[classes] if classes else each for each in predictions)
    tracked = track(wanted, threshold) if plan.is_tracked else wanted
    for prediction in tracked:
        yield prediction[: plan.detection.max_detections]


def _require_classes(wanted: Sequence[str], names: Sequence[str]) -> None:
    if wanted and not names:
        raise ValueError("--classes needs class names, but the detector has none")
    for each in wanted:
        if each not in names:
            hint = did_you_mean(each, names) or f"; it has {', '.join(names[:20])}"
            raise ValueError(f"--classes has '{each}', which the detector does not detect{hint}")


def _require_any(predictions: Iterator[Prediction], count: int) -> Iterator[Prediction]:
    """Pass predictions on, after the first image could be read: so nothing is written without."""
    first = next(predictions, None)
    if first is None:
        raise ValueError(
            f"no image could be read ({counted(count, 'source')}, listed above); nothing is written"
        )
    return chain([first], predictions)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Set the number of threads of the CPU in a block."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _total(sources: Sequence[Source]) -> int | None:
    """Return the number of images and frames, about; None: a source does not tell it."""
    counts = [_count(source) for source in sources]
    return None if None in counts else sum(each for each in counts if each is not None)


def _count(source: Source) -> int | None:
    if source.kind is Kind.IMAGE:
        return 1
    if source.kind is not Kind.FILM or not source.path.is_file():
        return None
    try:
        with Film(film_source(source.path)) as film:
            return film.count
    except FilmError:  # it is reported when it is read
        return 0


def _report(plan: Plan, outputs: Outputs, counter: "DetectionCounter", threshold: Resolved) -> None:
    """Log what is written, counted and skipped."""
    _name_escaped([source.path for source in plan.sources])
    described = counter.describe(threshold)
    logger.info("%s written to %s: %s", counted(outputs.count, "image"), plan.folder, described)
    for place, events in outputs.counts.items():
        for what, classes in events.items():
            by_class = ", ".join(f"{count} {name}" for name, count in classes.items())
            logger.info("%s, %s: %d (%s)", place, what, sum(classes.values()), by_class)
    if counter.failed:
        is_images = all(source.kind is Kind.IMAGE for source in plan.sources)
        logger.error(
            "%d of %d %s could not be read, or not whole (listed above)",
            len(counter.failed), len(plan.sources), "images" if is_images else "sources",
        )  # fmt: skip


class DetectionCounter:
    """Counts of a run: unreadable images, objects, and the highest score of all."""

    def __init__(self) -> None:
        self.failed: list[Path] = []
        self.objects = 0
        self.highest: float | None = None  # also of detections below the threshold

    def add_failure(self, path: Path, error: Exception) -> None:
        """Log and count a source that cannot be read, or not to its end."""
        self.failed.append(path)
        logger.error("%s", error)

    def add_scores(self, scores: Tensor) -> None:
        """Take note of the scores of all detections of an image."""
        if len(scores):
            self.highest = max(float(scores.max()), self.highest or 0.0)

    def count(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Pass predictions on, and count their objects."""
        for prediction in predictions:
            self.objects += len(prediction)
            yield prediction

    def describe(self, threshold: Resolved) -> str:
        """Say how many objects reach the threshold, and if none do, what the highest score is."""
        limit = describe_threshold(threshold)
        if self.objects:
            return f"{counted(self.objects, 'object')} at {limit}"
        if self.highest is None:
            return f"no objects at {limit}; the detector returns no detection of any score"
        return (
            f"no objects at {limit}; the highest score is {self.highest:.3g}, "
            "and --score-threshold sets a lower one"
        )


def _name_escaped(paths: Sequence[Path]) -> None:
    """Log the files whose names UTF-8 cannot hold, and thus predictions.json neither."""
    escaped = [printable(path) for path in paths if printable(path) != str(path)]
    if escaped:
        logger.warning(
            "%s with a name that is not UTF-8; predictions.json has the other bytes as \\xNN: %s",
            counted(len(escaped), "image"), ", ".join(escaped[:SHOWN_FILES]),
        )  # fmt: skip
