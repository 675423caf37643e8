"""The command `predict`: detect objects in images."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from centernet2.arguments import checked
from centernet2.files import is_image_file, printable
from centernet2.jobs import (
    DEFAULT_INFERENCE,
    ConfigArgument,
    ImageArgument,
    InferenceOptions,
    PathArgument,
    WeightsArgument,
)
from centernet2.outputs import writable_folder
from centernet2.usage import KEY

if TYPE_CHECKING:
    from torch import Tensor

    from centernet2.predict.tiling import Tiling
    from centernet2.predictor import Prediction, Predictor
    from centernet2.score_thresholds import Resolved

DEFAULT_THRESHOLD = 0.3  # minimum score of detections that are drawn
SHOWN_FILES = 5
UNREAD = ("DATALOADER.", "DATASETS.", "SOLVER.", "TEST.EVAL_", "TEST.IMS_PER_BATCH")
logger = logging.getLogger(__name__)


@checked()
def predict(
    *images: ImageArgument,
    weights: WeightsArgument,
    output: PathArgument = Path("predictions"),
    config: Annotated[ConfigArgument | None, Parameter(name="--config-file")] = None,
    score_threshold: float | None = None,
    tile: int | None = None,
    overlap: float | None = None,
    inference: InferenceOptions = DEFAULT_INFERENCE,
) -> dict[str, int]:
    """Detect objects; write annotated images and predictions.json.

    Parameters
    ----------
    images
        Image files, URLs, folders and glob patterns; then config overrides: KEY VALUE ... Pictures
        that this program has drawn are left out of folders and patterns.
    weights
        A checkpoint, the folder of a training run, or zoo:NAME of a published model. Our
        checkpoints need no --config-file.
    output
        Folder for the results.
    config
        Path or name of the config, for weights files without one.
    score_threshold
        Minimum score, in 0..1, of detections that are drawn and written; default: the thresholds
        per class that `centernet2 threshold` has stored, else 0.3.
    tile
        Also detect in tiles of so many pixels, for small objects in large images, such as 1024.
    overlap
        Fraction of a tile that neighboring tiles share; default: 0.2.

    Returns
    -------
    {"images": number of images written, "skipped": of unreadable ones, "objects": in all images}.
    """
    from centernet2.builders.loading import load_predictor
    from centernet2.prediction_files import earlier_files, write_predictions
    from centernet2.predictor import find_images
    from centernet2.score_thresholds import require_score

    sources, overrides = split_overrides(images)
    _name_unread(overrides)
    _require_sources(sources)
    if score_threshold is not None:
        score_threshold = require_score(score_threshold, "--score-threshold")
    tiling = _tiling(tile, overlap)
    folder = Path(output)
    writable_folder(folder, "--output", command="predict", files=earlier_files(folder))
    paths = find_images(sources)
    predictor = load_predictor(weights, overrides, config=config, tiling=tiling, **vars(inference))
    threshold = _choose_threshold(predictor, score_threshold)
    counter = DetectionCounter()
    predictions = predictor.predict_files(
        paths,
        score_threshold=threshold,
        on_error=counter.add_failure,
        on_scores=counter.add_scores,
    )
    counted = counter.count(_require_any(predictions, len(paths)))
    count = write_predictions(counted, folder, class_names=predictor.class_names)
    _name_escaped(paths)
    logger.info("%d images written to %s: %s", count, folder, counter.describe(threshold))
    failed = len(counter.failed)
    if failed:
        logger.error("%d of %d images could not be read (listed above)", failed, len(paths))
    return {"images": count, "skipped": failed, "objects": counter.objects}


def _choose_threshold(predictor: "Predictor", given: float | None) -> "Resolved":
    stored = predictor.score_thresholds or DEFAULT_THRESHOLD
    return predictor.resolve_threshold(stored if given is None else given)


def _tiling(tile: int | None, overlap: float | None) -> "Tiling | None":
    """Return the tiles to detect in; None: there are none."""
    from centernet2.predict.tiling import Tiling

    if tile is None:
        if overlap is not None:
            raise ValueError(
                "--overlap is of tiles; give their size in pixels, such as --tile 1024"
            )
        return None
    return Tiling(tile) if overlap is None else Tiling(tile, overlap)


def _name_unread(overrides: Sequence[Any]) -> None:
    """Log overrides that have no effect on predictions."""
    from centernet2.config import parse_pairs

    unread = [key for key in parse_pairs(overrides) if key.startswith(UNREAD)]
    if unread:
        logger.warning("predict does not read %s; leave that out", ", ".join(unread))


def _require_sources(sources: Sequence[str]) -> None:
    if not sources:
        raise ValueError("no image is given; name image files, folders of images or patterns")


def _require_any(predictions: "Iterator[Prediction]", count: int) -> "Iterator[Prediction]":
    """Pass predictions on, after the first image could be read: so nothing is written without."""
    first = next(predictions, None)
    if first is None:
        raise ValueError(f"no image could be read ({count} are listed above); nothing is written")
    return chain([first], predictions)


class DetectionCounter:
    """Counts of a run: unreadable images, objects, and the highest score of all."""

    def __init__(self) -> None:
        self.failed: list[Path] = []
        self.objects = 0
        self.highest: float | None = None  # also of detections below the threshold

    def add_failure(self, path: Path, error: Exception) -> None:
        """Log and count an unreadable image."""
        self.failed.append(path)
        logger.error("%s", error)

    def add_scores(self, scores: "Tensor") -> None:
        """Take note of the scores of all detections of an image."""
        if len(scores):
            self.highest = max(float(scores.max()), self.highest or 0.0)

    def count(self, predictions: "Iterable[Prediction]") -> "Iterator[Prediction]":
        """Pass predictions on, and count their objects."""
        for prediction in predictions:
            self.objects += len(prediction.detections["boxes"])
            yield prediction

    def describe(self, threshold: "Resolved") -> str:
        """Say how many objects reach the threshold, and if none do, what the highest score is."""
        from centernet2.score_thresholds import describe_threshold

        limit = describe_threshold(threshold)
        if self.objects:
            return f"{self.objects} objects at {limit}"
        if self.highest is None:
            return f"no objects at {limit}; the detector returns no detection of any score"
        return (
            f"no objects at {limit}; the highest score is {self.highest:.3g}, "
            "and --score-threshold sets a lower one"
        )


def _name_escaped(paths: "Sequence[Path]") -> None:
    """Log the files whose names UTF-8 cannot hold, and thus predictions.json neither."""
    escaped = [printable(path) for path in paths if printable(path) != str(path)]
    if escaped:
        logger.warning(
            "the names of %d images are not UTF-8; predictions.json has their other bytes as "
            "\\xNN: %s", len(escaped), ", ".join(escaped[:SHOWN_FILES])
        )  # fmt: skip


def split_overrides(words: Sequence[Any]) -> tuple[list[str], list[Any]]:
    """Split images from the overrides after them, which begin with a KEY or a dictionary."""
    for index, word in enumerate(words):
        if isinstance(word, Mapping) or _is_key(word):
            return _paths_in(words[:index]), [*words[index:]]
    return _paths_in(words), []


def _is_key(word: Any) -> bool:
    """Whether a word is a KEY and no file."""
    if not isinstance(word, str) or not KEY.fullmatch(word):
        return False
    return not is_image_file(word) and not Path(word).exists()


def _paths_in(words: Sequence[Any]) -> list[str]:
    """Return paths, and those in lists and other containers of Python."""
    paths: list[str] = []
    for word in words:
        if isinstance(word, str | os.PathLike):
            paths.append(os.fsdecode(word))
            continue
        from centernet2.predict.image_sources import several_images  # with torch

        several = several_images(word)
        if several is None:
            raise ValueError(
                f"predict reads image files, not a {type(word).__name__}; "
                "centernet2.load_predictor(weights)(image) takes images of other kinds"
            )
        paths += _paths_in([*several])
    return paths
