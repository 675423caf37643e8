"""The command `predict`."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from centernet2.jobs import (
    DEFAULT_INFERENCE,
    ConfigArgument,
    ImageArgument,
    InferenceOptions,
    PathArgument,
    WeightsArgument,
)

DEFAULT_THRESHOLD = 0.3  # of detections that are drawn
KEY = re.compile(r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)+")  # of a config: TEST.AUG.ENABLED
logger = logging.getLogger(__name__)


def predict(
    *images: ImageArgument,
    weights: WeightsArgument,
    output: PathArgument = Path("predictions"),
    config: Annotated[ConfigArgument | None, Parameter(name="--config-file")] = None,
    score_threshold: float | None = None,
    inference: InferenceOptions = DEFAULT_INFERENCE,
) -> dict[str, int]:
    """Detect objects; write annotated images and predictions.json.

    Parameters
    ----------
    images
        Images, folders and patterns; then config overrides: KEY VALUE ...
    weights
        The checkpoint, or zoo:NAME of a published model; these and ours need no --config-file.
    output
        Folder of the results.
    config
        Path or name of the config of a checkpoint that carries none.
    score_threshold
        Detections below it are not drawn and not written; default: the thresholds that
        `centernet2 threshold` stored for each class, else 0.3.

    Returns
    -------
    {"images": the number of images that were written}.
    """
    from centernet2.builders.loading import load_predictor
    from centernet2.predictor import find_images
    from centernet2.visualize import write_predictions

    sources, overrides = split_overrides(images)
    predictor = load_predictor(weights, overrides, config=config, **vars(inference))
    if score_threshold is None:
        threshold = predictor.score_thresholds or DEFAULT_THRESHOLD
    else:
        threshold = score_threshold
    failed: list[Path] = []

    def report(path: Path, error: Exception) -> None:
        failed.append(path)
        logger.error("%s", error)

    predictions = predictor.predict_files(
        find_images(sources), score_threshold=threshold, on_error=report
    )
    count = write_predictions(predictions, Path(output), class_names=predictor.class_names)
    logger.info("%d images written to %s", count, output)
    if failed:
        raise ValueError(
            f"{len(failed)} of {count + len(failed)} images could not be read (named above)"
        )
    return {"images": count}


def split_overrides(words: Sequence[ImageArgument]) -> tuple[list[str], list[str]]:
    """Split images from the KEY VALUE pairs after them, which begin at a KEY that is no file."""
    texts = [str(word) for word in words]
    for index, text in enumerate(texts):
        if KEY.fullmatch(text) and not Path(text).exists():
            return texts[:index], texts[index:]
    return texts, []
