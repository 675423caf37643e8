"""The command `predict`: detect objects in images, films and streams."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import Parameter

from centernet2.arguments import checked
from centernet2.builders.prediction.prediction_options import (
    DetectionOptions,
    FilmOptions,
    WordsArgument,
)
from centernet2.files import is_image_file
from centernet2.jobs import (
    DEFAULT_INFERENCE,
    ConfigArgument,
    ImageArgument,
    InferenceOptions,
    PathArgument,
    WeightsArgument,
)
from centernet2.option_groups import DETECTIONS
from centernet2.outputs import only_run_in
from centernet2.ranges import above, at_least
from centernet2.usage import KEY

if TYPE_CHECKING:
    from centernet2.predict.tiling import Tiling
    from centernet2.score_thresholds import Threshold

    ThresholdArgument: TypeAlias = Threshold
else:  # a type to which cyclopts converts
    ThresholdArgument = list[str]

DEFAULT_DETECTION, DEFAULT_FILM = DetectionOptions(), FilmOptions()
UNREAD = ("DATALOADER.", "DATASETS.", "SOLVER.", "TEST.EVAL_", "TEST.IMS_PER_BATCH")
logger = logging.getLogger(__name__)


@checked(
    batch_size=at_least(1), max_detections=at_least(1), threads=at_least(1),
    stream_timeout=above(0),
)  # fmt: skip
def predict(
    *images: Annotated[ImageArgument, Parameter(allow_leading_hyphen=True)],  # - is one
    weights: WeightsArgument,
    output: PathArgument = Path("predictions"),
    write: Annotated[WordsArgument | None, Parameter(negative=())] = None,
    config: Annotated[ConfigArgument | None, Parameter(name="--config-file")] = None,
    score_threshold: Annotated[
        ThresholdArgument | None, Parameter(group=DETECTIONS, negative=())
    ] = None,
    tile: Annotated[int | None, Parameter(group=DETECTIONS)] = None,
    overlap: Annotated[float | None, Parameter(group=DETECTIONS)] = None,
    detection: DetectionOptions = DEFAULT_DETECTION,
    film: FilmOptions = DEFAULT_FILM,
    inference: InferenceOptions = DEFAULT_INFERENCE,
) -> dict[str, int]:
    """Detect objects in images, films, streams; write pictures and predictions.json.

    Parameters
    ----------
    images
        Image files, films, folders, patterns, addresses (http, rtsp, s3 ...), numbers of cameras,
        text files with a path in each line, - for the standard input; then config overrides:
        KEY VALUE ... Pictures that this program has drawn are left out of folders and patterns.
    weights
        A checkpoint, the folder of a training run, zoo:NAME of a published model, or an exported
        file (.onnx, .xml, .pt2). Our checkpoints and exported files need no --config-file.
    output
        Folder for the results.
    write
        What to write, with commas: pictures (and films), json, coco, csv, yolo, crops; default:
        pictures,json. An engine writes Parquet files instead.
    config
        Path or name of the config, for weights files without one.
    score_threshold
        Minimum score, in 0..1, of detections that are drawn and written, or several by class, such
        as cat=0.5,dog=0.3, where other classes have none; default: the thresholds per class that
        `centernet2 threshold` has stored, else 0.3.
    tile
        Also detect in tiles of so many pixels, for small objects in large images, such as 1024.
    overlap
        Fraction of a tile that neighboring tiles share; default: 0.2.

    Returns
    -------
    {"images": number written, "skipped": of unreadable sources, "objects": in all images}.
    """
    from centernet2.builders.detector.predictor_loading import load_predictor
    from centernet2.builders.prediction.prediction_run import plan_prediction, run_prediction

    sources, overrides = split_overrides(images)
    _name_unread(overrides)
    options = {**vars(inference), "config": config, "tiling": _tiling(tile, overlap)}
    options |= {"overrides": overrides, "threads": detection.threads, "abstain": detection.abstain}
    plan = plan_prediction(sources, Path(output), write, score_threshold, detection, film)
    with only_run_in(plan.folder, "prediction", "--output"):
        if detection.engine is not None:
            from centernet2.builders.prediction.cluster_prediction import predict_on_cluster

            return predict_on_cluster(weights, options, plan)
        return run_prediction(load_predictor(weights, **options), plan)


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
    if not overrides:
        return
    from centernet2.config import parse_pairs

    unread = [key for key in parse_pairs(overrides) if key.startswith(UNREAD)]
    if unread:
        logger.warning("predict does not read %s; leave that out", ", ".join(unread))


def split_overrides(words: Sequence[Any]) -> tuple[list[str], list[Any]]:
    """Split images from overrides, which begin with a KEY or a dictionary."""
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
        if isinstance(word, int) and not isinstance(word, bool):  # of a camera
            paths.append(str(word))
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
