"""AP and speed of exported files in lower precision, against float32 in the same runtime.

python benchmarks/precision.py --folder RUNS [--data bccd] [--config-file CenterNet2_R18_small]
    [--iterations 600] [--seeds 1 2 3] [--formats onnx xml] [--precisions fp16 int8]
    [--samples 2000] [--threads 2] [--images 30]

For each seed a detector is trained and exported, and its files are evaluated on the validation
images. What is in RUNS is not done again, and a training run that was interrupted is resumed. The
difference of AP is that of the means over the seeds, with an interval of 95 % of a paired bootstrap
over the images. The time is that of whole images, float32 and lower precision in turn. One line of
JSON for each format and precision.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from harness import machine, spread
from numpy.typing import NDArray

from centernet2.builders.data.class_matching import match_detector
from centernet2.builders.data.evaluation_data import find_validation_data
from centernet2.builders.detector.loading import config_of, load_detector
from centernet2.builders.evaluation.evaluator import max_detections_of, score_exported
from centernet2.data import DetectionDataset
from centernet2.evaluation import compare_pairs
from centernet2.images.image_files import read_image
from centernet2.predict.exported_detector import ExportedDetector
from centernet2.runtime.exported_model import ExportedModel
from centernet2.structures import FloatArray

CONFIDENCE = 0.95
WEIGHTS = "model_final.pth"


def command(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "centernet2", *map(str, words)], check=True)


def train(options: argparse.Namespace, run: Path) -> None:
    """Train a detector, or continue its training run, unless it is finished."""
    if (run / WEIGHTS).exists():
        return
    if list(run.glob("model_*.pth")):
        command("train", "--output-dir", run, "--resume")
        return
    words = ["--config-file", options.config_file, "--data", options.data, "--output-dir", run]
    seed = run.name.removeprefix("seed")
    limit = ["SOLVER.MAX_ITER", str(options.iterations), "SOLVER.CHECKPOINT_PERIOD", "100"]
    command("train", *words, "--seed", seed, "--device", "cpu", *limit)


def export(options: argparse.Namespace, run: Path, suffix: str, precision: str) -> Path:
    """Return the exported file of a training run; export it if it is missing."""
    path = run / "export" / f"{precision}.{suffix}"
    if not path.exists():
        calibration = ["--calibration", options.data] if precision == "int8" else []
        words = ["--output", path, "--precision", precision, *calibration]
        share = ["--required-share", "0"]  # what a file loses is measured in AP
        command("export", "--weights", run, *words, *share)
    return path


def evaluate(options: argparse.Namespace, run: Path, path: Path) -> FloatArray:
    """Return the results [D, 7] of a file on the validation images."""
    stored = path.with_suffix(f"{path.suffix}.npy")
    if not stored.exists():
        detector = load_detector(run, device="cpu")
        matched = match_detector(detector, validation_data(options, run))
        config = config_of(detector.info)
        count = max_detections_of(detector, config)
        scored = score_exported(ExportedDetector(path), matched, config, max_detections=count)
        np.save(stored, scored.results)
    results: FloatArray = np.load(stored)
    return results


def validation_data(options: argparse.Namespace, run: Path) -> DetectionDataset:
    config = config_of(load_detector(run, device="cpu").info)
    return find_validation_data(options.data, None, config.datasets, masks=False)


def speedup(options: argparse.Namespace, paths: tuple[Path, Path], images: list[Path]) -> object:
    """Return the time of the first file divided by that of the second, image by image."""
    models = [ExportedModel(path, threads=options.threads) for path in paths]
    pixels = [read_image(path).transpose(2, 0, 1)[None] for path in images]
    for model in models:
        model.run(pixels[0])
    seconds = [[_seconds(model, image) for model in models] for image in pixels]
    return spread([first / second for first, second in seconds])


def _seconds(model: ExportedModel, image: NDArray[np.uint8]) -> float:
    started = time.perf_counter()
    model.run(image)
    return time.perf_counter() - started


def print_figure(
    options: argparse.Namespace, runs: list[Path], suffix: str, precision: str
) -> None:
    pairs = [
        (export(options, run, suffix, "fp32"), export(options, run, suffix, precision))
        for run in runs
    ]
    data = validation_data(options, runs[0])
    results = [
        (evaluate(options, run, first), evaluate(options, run, second))
        for run, (first, second) in zip(runs, pairs, strict=True)
    ]
    compared = compare_pairs(data, results, samples=options.samples, confidence=CONFIDENCE, seed=0)
    images = [data.image_path(i) for i in range(min(len(data), options.images))]
    figure = {
        "benchmark": "precision",
        "data": data.name,
        "config": options.config_file,
        "iterations": options.iterations,
        "seeds": options.seeds,
        "side": f"{suffix} {precision}",
        "AP of fp32, of the side, interval of the difference": {
            name: [round(value, 2) for value in each] for name, each in compared.items()
        },
        "speedup over fp32": speedup(options, pairs[-1], images),
        "images": len(images),
        **machine(),
        "threads": options.threads,
    }
    print(json.dumps(figure), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", required=True, type=Path, help="of training runs and files")
    parser.add_argument("--data", default="bccd")
    parser.add_argument("--config-file", default="CenterNet2_R18_small")
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--formats", nargs="+", choices=["onnx", "xml"], default=["onnx", "xml"])
    parser.add_argument("--precisions", nargs="+", choices=["fp16", "int8"], default=["int8"])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=30, help="that are timed")
    options = parser.parse_args()
    runs = [options.folder / f"seed{seed}" for seed in options.seeds]
    for run in runs:
        train(options, run)
    for suffix in options.formats:
        for precision in options.precisions:
            print_figure(options, runs, suffix, precision)


if __name__ == "__main__":
    main()
