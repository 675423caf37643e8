"""Trains a small detector on handwritten digits, evaluates it, predicts and writes a report."""

import argparse
import logging
import time
from pathlib import Path

import numpy as np

import centernet2
from centernet2.checkpoint.checkpoint import numbered_checkpoints
from centernet2.cli import ending, start_logging
from centernet2.outputs import require_replaceable
from demo.digits import UNSEEN, compose_split, write_split
from demo.training_page import write_training_page

logger = logging.getLogger("demo")

# the images are small, and a mirrored digit is no digit
OVERRIDES = [
    "INPUT.MIN_SIZE_TRAIN", "(160,)", "INPUT.MIN_SIZE_TEST", "160", "INPUT.RANDOM_FLIP", "none",
    "SOLVER.BASE_LR", "0.06", "SOLVER.MAX_ITER", "800",
]  # fmt: skip


def main() -> None:
    """Run the whole demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/demo"))
    output: Path = parser.parse_args().output
    with ending():
        start_logging()
        run(output)


def run(output: Path) -> None:
    """Run all steps; those that an interrupted run has done are not repeated."""
    data = output / "data"
    if not (data / UNSEEN).is_dir():  # it is written last
        for split in ("train", "val", UNSEEN):
            logger.info("writing the %s images", split)
            write_split(data, split, compose_split(split))

    started = time.perf_counter()
    config = centernet2.load_config("CenterNet2_R18_small", OVERRIDES)
    report = output / "report.html"  # written last: a run that has one is done
    interrupted = bool(numbered_checkpoints(output)) and not report.is_file()
    require_replaceable(report, "demo", "--output")
    report.unlink(missing_ok=True)
    if interrupted:
        logger.info("%s holds an interrupted run, which is continued", output)
    metrics = centernet2.train(
        config, data=data, output_dir=output, seed=1, device="cpu", resume=interrupted
    )
    minutes = (time.perf_counter() - started) / 60

    predictor = centernet2.load_predictor(output / "model_final.pth", device="cpu")
    pictures = [
        (each.path.name, np.array(each.plot()))
        for each in predictor.stream(data / UNSEEN, score_threshold=0.4)
        if each.path is not None
    ]
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
