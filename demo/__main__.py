"""Composes a data set of handwritten digits, trains a small detector on it, evaluates, predicts and writes a report."""

import argparse
import logging
import time
from pathlib import Path

import centernet2
from centernet2.cli import start_logging
from centernet2.report.training_page import write_training_page
from centernet2.visualize import draw
from demo.digits import UNSEEN, compose_split, write_split

logger = logging.getLogger("demo")

# The digits' canvases are small and must not be mirrored.
SETTINGS = [
    "INPUT.MIN_SIZE_TRAIN", "(160,)", "INPUT.MIN_SIZE_TEST", "160", "INPUT.RANDOM_FLIP", "none",
    "SOLVER.BASE_LR", "0.06", "SOLVER.MAX_ITER", "800",
]  # fmt: skip


def main() -> None:
    """Runs the whole demonstration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/demo"))
    output: Path = parser.parse_args().output
    start_logging()

    data = output / "data"
    if not (data / UNSEEN).is_dir():  # the last one to be written
        for split in ("train", "val", UNSEEN):
            logger.info("composing the %s scenes", split)
            write_split(data, split, compose_split(split))

    started = time.perf_counter()
    config = centernet2.load_config("CenterNet2_R18_small", SETTINGS)
    metrics = centernet2.train(config, data=data, output_dir=output, seed=1, device="cpu")
    minutes = (time.perf_counter() - started) / 60

    predictor = centernet2.load_predictor(output / "model_final.pth", device="cpu")
    pictures = [
        (found.path.name, draw(found.image, found.detections, predictor.class_names))
        for found in predictor.predict_files(sorted((data / UNSEEN).iterdir()), score_threshold=0.4)
    ]
    report = output / "report.html"
    write_training_page(
        report,
        title="CenterNet2: handwritten digits",
        summary={
            "AP50": metrics["bbox/AP50"],
            "AP": metrics["bbox/AP"],
            "minutes of training": minutes,
        },
        metrics_jsonl=output / "metrics.jsonl",
        evaluation=metrics,
        pictures=pictures,
    )
    logger.info(
        "AP50 %.1f, AP %.1f after %.1f minutes", metrics["bbox/AP50"], metrics["bbox/AP"], minutes
    )
    logger.info("report: %s", report)


if __name__ == "__main__":
    main()
