"""The command `predict`."""

import logging
from pathlib import Path

from centernet2.cli.arguments import Flag

DEFAULT_THRESHOLD = 0.3  # of detections that are shown
logger = logging.getLogger(__name__)


def predict(
    *images: str,
    weights: str,
    output: Path = Path("predictions"),
    config_file: str | None = None,
    score_threshold: float | None = None,
    device: str | None = None,
    dtype: str = "fp32",
    compile: Flag = False,
) -> None:
    """Detect objects: annotated images and predictions.json.

    Parameters
    ----------
    images
        Images, folders and patterns.
    weights
        The checkpoint, or zoo:NAME of a published model; these and ours need no --config-file.
    output
        Folder of the results.
    config_file
        Path or name of the configuration of a checkpoint that carries none.
    score_threshold
        Detections below it are not drawn and not written; default: those that `centernet2 threshold` has stored for
        each class, else 0.3.
    device
        cuda, npu, xpu, mps or cpu; default: the best there is.
    dtype
        fp32, bf16 or fp16: of matrix products and convolutions.
    compile
        Compile the network (torch.compile): slow at the first image of a size, faster from then on.
    """
    from centernet2.builders import loading as models
    from centernet2.config import load_config
    from centernet2.models.optimize import optimize_for_inference
    from centernet2.predictor import Predictor, find_images
    from centernet2.visualize import write_predictions

    if config_file is None:
        predictor = models.load_predictor(weights, device=device, dtype=dtype, compile=compile)
    else:
        model = models.build_model(load_config(config_file), weights=weights, device=device)
        predictor = Predictor(optimize_for_inference(model, dtype=dtype, compile=compile))
    failed: list[Path] = []

    def report(path: Path, error: Exception) -> None:
        failed.append(path)
        logger.error("%s", error)

    least = (
        score_threshold
        if score_threshold is not None
        else predictor.score_thresholds or DEFAULT_THRESHOLD
    )
    found = predictor.predict_files(find_images(images), score_threshold=least, on_error=report)
    count = write_predictions(found, output, class_names=predictor.class_names)
    logger.info("%d images written to %s", count, output)
    if failed:
        raise ValueError(
            f"{len(failed)} of {count + len(failed)} images could not be read (named above)"
        )
