"""The command `explain`: why there is a box at a point of an image, or why not."""

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from centernet2.jobs import (
    DEFAULT_INFERENCE,
    ConfigArgument,
    ImageArgument,
    InferenceOptions,
    OverridePairs,
    PathArgument,
    WeightsArgument,
)

if TYPE_CHECKING:
    from centernet2.predict.explaining import PointExplanation

FILES = ("explanation.json", "explanation.png")
POINT = re.compile(r"\s*([\d.]+)\s*[,x ]\s*([\d.]+)\s*")
logger = logging.getLogger(__name__)


def explain(
    image: ImageArgument,
    *overrides: OverridePairs,
    at: str,
    weights: WeightsArgument,
    output: PathArgument = Path("explanation"),
    config: Annotated[ConfigArgument | None, Parameter(name="--config-file")] = None,
    score_threshold: float | None = None,
    inference: InferenceOptions = DEFAULT_INFERENCE,
) -> "PointExplanation":
    """Explain the detection at a point of an image, or why there is none.

    It prints the value of the heat map at the point, its proposal, each stage of the cascade, and
    the rule that ended its way. It writes explanation.json and explanation.png.

    Parameters
    ----------
    image
        An image file or URL.
    at
        The point, X,Y in pixels of the image, such as 312,140.
    weights
        A checkpoint, the folder of a training run, zoo:NAME of a published model, or an exported
        file that has its record (export --record, or .pt2).
    output
        Folder for the results.
    config
        Path or name of the config, for weights files without one.
    score_threshold
        Minimum score of detections that are shown; default: as of `predict`.
    """
    from centernet2.builders.detector.predictor_loading import load_predictor
    from centernet2.files import write_atomic
    from centernet2.outputs import writable_folder
    from centernet2.pictures import save_picture
    from centernet2.score_thresholds import require_score

    x, y = _parse_point(at)
    if score_threshold is not None:
        score_threshold = require_score(score_threshold, "--score-threshold")
    folder = writable_folder(Path(output), "--output", command="explain", files=FILES)
    predictor = load_predictor(weights, overrides, config=config, **vars(inference))
    threshold = predictor.shown_threshold(score_threshold)
    explanation = predictor.explain(image, x, y, score_threshold=threshold)
    folder.mkdir(parents=True, exist_ok=True)
    record = {"image": str(image), **explanation.to_dict()}
    write_atomic(folder / FILES[0], json.dumps(record, ensure_ascii=False, indent=1) + "\n")
    save_picture(explanation.picture(), folder / FILES[1])
    logger.info("%s, %s", *(folder / name for name in FILES))
    return explanation


def _parse_point(text: str) -> tuple[float, float]:
    match = POINT.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        return float(match[1]), float(match[2])
    except ValueError:
        raise ValueError(
            f"--at is '{text}'; give a point in pixels of the image as X,Y, such as 312,140"
        ) from None
