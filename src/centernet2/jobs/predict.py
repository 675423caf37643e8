"""The command `predict`: detect objects in images."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from centernet2.files import is_image_file, writable_folder
from centernet2.jobs import (
    DEFAULT_INFERENCE,
    ConfigArgument,
    ImageArgument,
    InferenceOptions,
    PathArgument,
    WeightsArgument,
)

DEFAULT_THRESHOLD = 0.3  # minimum score of detections that are drawn
KEY = re.compile(r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)+")  # of an option, such as TEST.AUG.ENABLED
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
        Image files, folders and glob patterns; then config overrides: KEY VALUE ...
    weights
        A checkpoint, or zoo:NAME of a published model. Our checkpoints need no --config-file.
    output
        Folder for the results.
    config
        Path or name of the config, for weights files without one.
    score_threshold
        Minimum score of detections that are drawn and written; default: the thresholds per class
        that `centernet2 threshold` has stored, else 0.3.

    Returns
    -------
    {"images": number of images written}.
    """
    from centernet2.builders.loading import load_predictor
    from centernet2.prediction_files import write_predictions
    from centernet2.predictor import find_images

    sources, overrides = split_overrides(images)
    if not sources or "" in sources:
        raise ValueError("no image is given; name image files, folders of images or patterns")
    folder = writable_folder(Path(output), "--output")
    paths = find_images(sources)
    predictor = load_predictor(weights, overrides, config=config, **vars(inference))
    if score_threshold is None:
        threshold = predictor.score_thresholds or DEFAULT_THRESHOLD
    else:
        threshold = score_threshold
    failed: list[Path] = []

    def report(path: Path, error: Exception) -> None:
        failed.append(path)
        logger.error("%s", error)

    predictions = predictor.predict_files(paths, score_threshold=threshold, on_error=report)
    count = write_predictions(predictions, folder, class_names=predictor.class_names)
    logger.info("%d images written to %s", count, folder)
    if failed:
        raise ValueError(
            f"{len(failed)} of {count + len(failed)} images could not be read (listed above)"
        )
    return {"images": count}


def split_overrides(words: Sequence[ImageArgument]) -> tuple[list[str], list[str]]:
    """Split images from the KEY VALUE pairs after them; the first KEY is not a file."""
    texts = [str(word) for word in words]
    for index, text in enumerate(texts):
        if KEY.fullmatch(text) and not is_image_file(text) and not Path(text).exists():
            return texts[:index], texts[index:]
    return texts, []
