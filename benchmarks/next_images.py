"""AP after labelling images that `centernet2 next` chooses, against random ones.

python benchmarks/next_images.py DATA --output FOLDER [--first 30] [--count 50] [--seeds 0 1 2]
    [--iterations 300] [--runs N]

For each seed, a detector is trained on --first random training images. It chooses --count others;
as many are drawn at random. A detector is trained on the first ones and the chosen ones, another
one on the first ones and the random ones, with the same seed and as many steps. Their difference of
AP on the validation images is printed, with an interval of 95 % of a paired bootstrap over the
images: it does not tell how other seeds would differ.

What is in FOLDER is not done again, and an interrupted training run is resumed. --runs ends the
benchmark after so many training runs.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from harness import machine

from centernet2.builders.evaluation.stored_results import read_detections
from centernet2.data import DetectionDataset
from centernet2.data.layout_writers import WRITERS
from centernet2.data.readers import load_dataset
from centernet2.evaluation import compare_pairs

CONFIG, BATCH = "CenterNet2_Lite_N", 4
ARMS = ("random", "chosen")


def command(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "centernet2", *map(str, words)], check=True)


def write_part(original: Path, target: Path, rows: np.ndarray) -> Path:
    """Write a data set with some of the training images, and all validation images, once."""
    if not (target / "annotations" / "instances_val.json").exists():
        for split in ("train", "val"):
            dataset = load_dataset(data=original, data_path=None, names=(), split=split)
            part = dataset.subset(np.sort(rows)) if split == "train" else dataset
            WRITERS["coco"](part, target, split)
    return target


def train(options: argparse.Namespace, data: Path, run: Path, seed: int) -> Path:
    """Train a detector, or continue its run, unless it is finished."""
    if (run / "eval" / "metrics.json").exists():
        return run
    if options.runs == 0:
        sys.exit("there are more runs to do")
    options.runs -= 1
    if (run / "command.yaml").exists():
        command("train", "--output-dir", run, "--resume")
        return run
    words = ["--config-file", CONFIG, "--data", data, "--output-dir", run, "--seed", str(seed)]
    length = ["SOLVER.MAX_ITER", str(options.iterations), "SOLVER.IMS_PER_BATCH", str(BATCH)]
    command("train", *words, "--device", "cpu", *length, "SOLVER.CHECKPOINT_PERIOD", "100")
    return run


def choose(options: argparse.Namespace, train_set: DetectionDataset, folder: Path) -> np.ndarray:
    """Return the rows of the images that the first detector chooses from all others."""
    first, pool, output = np.load(folder / "first.npy"), folder / "pool", folder / "next"
    rows = {}
    pool.mkdir(exist_ok=True)
    for row in np.setdiff1d(np.arange(len(train_set)), first).tolist():
        path = train_set.image_path(row).absolute()
        rows[path.name] = row
        if not (pool / path.name).exists():
            (pool / path.name).symlink_to(path)
    if not (output / "images.txt").exists():
        words = ["--weights", folder / "run_first", "--count", str(options.count)]
        command("next", pool, *words, "--output", output, "--device", "cpu")
    lines = (output / "images.txt").read_text().splitlines()[1:]  # after the mark
    return np.array([rows[Path(line).name] for line in lines])


def run_seed(options: argparse.Namespace, seed: int) -> dict[str, Path]:
    """Train the detectors of a seed, and return the runs by arm."""
    original, folder = Path(options.data), Path(options.output) / f"seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    train_set = load_dataset(data=original, data_path=None, names=(), split="train")
    order = np.random.default_rng(seed).permutation(len(train_set))
    first, others = order[: options.first], order[options.first :]
    np.save(folder / "first.npy", first)
    data = write_part(original, folder / "data_first", first)
    train(options, data, folder / "run_first", seed)
    added = {"random": others[: options.count], "chosen": choose(options, train_set, folder)}
    runs = {}
    for arm, rows in added.items():
        data = write_part(original, folder / f"data_{arm}", np.concatenate([first, rows]))
        runs[arm] = train(options, data, folder / f"run_{arm}", seed)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--output", required=True)
    parser.add_argument("--first", type=int, default=30)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--runs", type=int, default=-1, help="training runs to do at most")
    options = parser.parse_args()
    val_set = load_dataset(data=Path(options.data), data_path=None, names=(), split="val")
    runs = [run_seed(options, seed) for seed in options.seeds]
    pairs = [
        tuple(read_detections(each[arm] / "eval", val_set).results for arm in ARMS) for each in runs
    ]
    differences = compare_pairs(val_set, pairs, samples=1000, confidence=0.95, seed=0)
    ap = differences["AP"]
    alone = [compare_pairs(val_set, [pair], samples=1, confidence=0.95, seed=0) for pair in pairs]
    result = {
        "benchmark": "next_images",
        "data": Path(options.data).name,
        "images": [options.first, options.count],
        "iterations": options.iterations,
        "seeds": options.seeds,
        "AP random": round(ap.first, 2),
        "AP chosen": round(ap.second, 2),
        "gain": round(ap.second - ap.first, 2),
        "interval": [round(ap.low, 2), round(ap.high, 2)],
        "gain of each seed": [round(d["AP"].second - d["AP"].first, 2) for d in alone],
        **machine(),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
