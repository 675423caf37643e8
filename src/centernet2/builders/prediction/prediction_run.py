"""The run of the command `predict`: from sources to files."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from centernet2.builders.prediction.prediction_options import ENGINES, DetectionOptions, FilmOptions
from centernet2.files import printable
from centernet2.images.storage import shown_name
from centernet2.outputs import writable_folder
from centernet2.predict.counting import Line, Zone, parse_points
from centernet2.predict.film_writer import require_encoder
from centernet2.predict.films import Film, FilmError, import_av
from centernet2.predict.output_files import (
    DEFAULT_KINDS,
    KINDS,
    Outputs,
    earlier_files,
    open_outputs,
    set_aside_earlier_files,
)
from centernet2.predict.parquet_parts import SKIPPED_FILE
from centernet2.predict.prediction import Prediction
from centernet2.predict.predictor import Predictor
from centernet2.predict.read_sources import FailureList, film_source
from centernet2.predict.sources import Source, SourceKind, find_sources
from centernet2.predict.tracking import lowest_threshold, require_trackers, track
from centernet2.progress import with_progress
from centernet2.score_thresholds import (
    Resolved,
    Threshold,
    describe_threshold,
    parse_thresholds,
    require_score,
)
from centernet2.spelling import counted, did_you_mean, split_names
from centernet2.threads import ThreadsByLoad, cpu_threads

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

    def classes(self, predictor: Predictor) -> list[str]:
        """Return the names of the classes to keep; empty: all."""
        return split_names(self.detection.classes, predictor.class_names or ())


def plan_prediction(
    words: Sequence[str],
    folder: Path,
    write: Sequence[str] | str | None,
    score_threshold: Threshold | None,
    detection: DetectionOptions,
    film: FilmOptions,
) -> Plan:
    """Check the options of the command that need no detector; find the sources.

    The arguments are those of `predict`.
    """
    if not words:
        raise ValueError("no image is given; name image files, films, folders or patterns")
    kinds = _kinds(write, detection.engine)
    threshold = _parse_threshold(score_threshold)
    files = earlier_files(folder) if detection.engine is None else [SKIPPED_FILE]
    writable_folder(folder, "--output", command="predict", files=files)
    sources = find_sources(words)
    plan = Plan(sources, folder, kinds, threshold, detection, film, _counters(film))
    if detection.classes and not split_names(detection.classes):
        given = _as_given(detection.classes)
        raise ValueError(f"--classes is '{given}'; give names, such as cat,dog")
    if detection.engine is not None:
        _require_images(plan)
    if plan.is_tracked:
        require_trackers()
        _require_films(sources)
    if any(each.kind in (SourceKind.FILM, SourceKind.STREAM) for each in sources):
        import_av()
        if "pictures" in kinds:
            require_encoder()
    return plan


def _kinds(write: Sequence[str] | str | None, engine: str | None) -> Sequence[str]:
    """Return what is written, as --write and --engine say."""
    if engine is not None:
        if engine not in ENGINES:
            raise ValueError(f"--engine is '{engine}'; it takes {' or '.join(ENGINES)}")
        if write is not None:
            raise ValueError(
                f"--write cannot be used with --engine {engine}, which writes Parquet files; leave "
                "it out"
            )
        return ()
    kinds = DEFAULT_KINDS if write is None else split_names(write)
    if not kinds:
        raise ValueError(f"--write is '{_as_given(write or ())}'; choose of {', '.join(KINDS)}")
    for kind in kinds:
        if kind not in KINDS:
            hint = did_you_mean(kind, KINDS)
            raise ValueError(f"--write has '{kind}'; choose of {', '.join(KINDS)}{hint}")
    return kinds


def _as_given(words: Sequence[str] | str) -> str:
    """Return the words of an option as on a command line."""
    return words if isinstance(words, str) else ",".join(words)


def _require_images(plan: Plan) -> None:
    """Raise ValueError for films, and for options of films."""
    engine = plan.detection.engine
    default = FilmOptions()
    for each in fields(default):
        if getattr(plan.film, each.name) != getattr(default, each.name):
            option = f"--{each.name.replace('_', '-')}"
            raise ValueError(
                f"{option} is of films, which --engine {engine} does not read; leave it out"
            )
    read = (SourceKind.IMAGE, SourceKind.ADDRESS)
    others = [source for source in plan.sources if source.kind not in read]
    if others:
        raise ValueError(
            f"{shown_name(others[0].path)} is no image, and --engine {engine} reads images alone; "
            "predict on films, cameras and the standard input without --engine"
        )


def _require_films(sources: Sequence[Source]) -> None:
    images = [shown_name(source.path) for source in sources if source.kind is SourceKind.IMAGE]
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
    predictor = predictor.with_batch_size(plan.detection.batch_size)
    threshold = predictor.shown_threshold(plan.threshold)
    require_known_classes(plan, predictor)
    counter = DetectionCounter()
    threads = ThreadsByLoad(is_on=plan.detection.threads is None)
    with cpu_threads(plan.detection.threads):
        predictions = detections(predictor, plan, threshold, counter)
        readable = counter.count(_require_any(predictions, len(plan.sources)))
        shown = with_progress(readable, ("predicting", "predicted"), total=_total(plan.sources))
        names = predictor.class_names or ()
        set_aside_earlier_files(plan.folder, [source.path for source in plan.sources])
        with open_outputs(plan.folder, plan.kinds, names, plan.counters) as outputs:
            for prediction in threads.adapt_between(shown):
                outputs.write(prediction)
    report(plan, outputs.count, counter, threshold)
    _report_events(outputs)
    return {"images": outputs.count, "skipped": len(counter.failed), "objects": counter.objects}


def detections(
    predictor: Predictor, plan: Plan, threshold: Resolved, counter: "DetectionCounter"
) -> Iterator[Prediction]:
    """Yield the kept detections of all sources, tracked if the plan asks for it."""
    found = predictor.stream(
        plan.sources,
        score_threshold=lowest_threshold(threshold) if plan.is_tracked else threshold,
        on_error=counter.add_failure,
        on_scores=counter.add_scores,
        give_up=plan.film.stream_timeout,
    )
    classes = plan.classes(predictor)
    wanted = (each[classes] if classes else each for each in found)
    tracked = track(wanted, threshold) if plan.is_tracked else wanted
    for prediction in tracked:
        yield prediction[: plan.detection.max_detections]


def require_known_classes(plan: Plan, predictor: Predictor) -> None:
    """Raise ValueError for --classes that the detector does not have."""
    wanted, names = plan.classes(predictor), predictor.class_names or ()
    if wanted and not names:
        raise ValueError("--classes needs class names, but the detector has none")
    for each in wanted:
        if each not in names:
            hint = did_you_mean(each, names) or f"; it has {', '.join(names[:20])}"
            raise ValueError(f"--classes has '{each}', which the detector does not detect{hint}")


def _require_any(predictions: Iterator[Prediction], count: int) -> Iterator[Prediction]:
    """Pass predictions on; if no image can be read, raise before anything is written."""
    first = next(predictions, None)
    if first is None:
        raise ValueError(
            f"no image could be read ({counted(count, 'source')}, listed above); nothing is written"
        )
    return chain([first], predictions)


def _total(sources: Sequence[Source]) -> int | None:
    """Return the number of images and frames, about; None: a source does not tell it."""
    counts = [_count(source) for source in sources]
    return None if None in counts else sum(each for each in counts if each is not None)


def _count(source: Source) -> int | None:
    if source.kind is SourceKind.IMAGE:
        return 1
    if source.kind is not SourceKind.FILM or not Path(source.path).is_file():
        return None
    try:
        with Film(film_source(source.path)) as film:
            return film.count
    except FilmError:  # it is reported when it is read
        return 0


def _report_events(outputs: Outputs) -> None:
    """Log what is counted in films."""
    for place, events in outputs.counts.items():
        for what, classes in events.items():
            by_class = ", ".join(f"{count} {name}" for name, count in classes.items())
            logger.info("%s, %s: %d (%s)", place, what, sum(classes.values()), by_class)


def report(plan: Plan, written: int, counter: "DetectionCounter", threshold: Resolved) -> None:
    """Log how many images are written, with how many objects, and what is skipped."""
    _name_escaped([source.path for source in plan.sources])
    described = counter.describe(threshold)
    logger.info("%s written to %s: %s", counted(written, "image"), plan.folder, described)
    if counter.failed:
        is_images = all(source.kind is SourceKind.IMAGE for source in plan.sources)
        logger.error(
            "%d of %d %s could not be read, or not whole (listed above)",
            len(counter.failed), len(plan.sources), "images" if is_images else "sources",
        )  # fmt: skip


class DetectionCounter(FailureList):
    """Counts of a run: unreadable images, objects, and the highest score of all."""

    def __init__(self) -> None:
        super().__init__()
        self.objects = 0
        self.highest: float | None = None  # also of detections below the threshold

    def add_scores(self, scores: NDArray[np.float32]) -> None:
        """Take note of the scores of all detections of an image."""
        if len(scores):
            self.highest = max(float(scores.max()), self.highest or 0.0)

    def count(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Pass predictions on, and count their objects."""
        for prediction in predictions:
            self.objects += len(prediction)
            yield prediction

    def describe(self, threshold: Resolved) -> str:
        """Describe the number of objects at the threshold, or else the highest score."""
        limit = describe_threshold(threshold)
        if self.objects:
            return f"{counted(self.objects, 'object')} at {limit}"
        if self.highest is None:
            return f"no objects at {limit}; the detector returns no detection of any score"
        return (
            f"no objects at {limit}; the highest score is {self.highest:.3g}, "
            "and --score-threshold sets a lower one"
        )


def _name_escaped(paths: Sequence[Path | str]) -> None:
    """Log the files whose names UTF-8 cannot hold, and thus predictions.json neither."""
    escaped = [printable(path) for path in paths if printable(path) != str(path)]
    if escaped:
        logger.warning(
            "%s with a name that is not UTF-8; predictions.json has the other bytes as \\xNN: %s",
            counted(len(escaped), "image"), ", ".join(escaped[:SHOWN_FILES]),
        )  # fmt: skip
