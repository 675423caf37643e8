"""Calibration of scores, and objects of classes that were held out of training.

python benchmarks/calibration.py --output FOLDER [--held-out 7 8 9] [--seed 0] [--images 160]
    [--minutes 20] [--data DATA --weights RUN]

A detector of the digits of the demo is trained on images without some of the digits: as the demo
does, or with --minutes by `centernet2 train DATA` in that time. Its scores are calibrated on
validation images that lack these digits, too. Then it detects in images with all ten, in
handwriting of neither split. A training run that was interrupted is resumed, a complete one is not
repeated. With --data, the scores of a trained detector are calibrated besides.

One line of JSON for each:

- calibration: expected calibration errors in percent before and after, fitted on one half of the
  validation images and measured on the other, and swapped; AP before and after.
- unknown: the share of the held-out objects that --abstain detects as unknown, and the share of
  the known objects that were found and are lost by it.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import machine
from sklearn.datasets import load_sample_images

import centernet2
from centernet2.data import DetectionDataset
from centernet2.data.readers import load_dataset
from centernet2.images.image_files import read_image
from centernet2.jobs import InferenceOptions
from centernet2.jobs.threshold import threshold
from centernet2.jobs.train import TrainMode
from centernet2.ops.box_arrays import box_iou_matrix
from centernet2.predict.prediction import Prediction
from centernet2.structures import UNKNOWN_CLASS
from demo.__main__ import OVERRIDES
from demo.digits import SEED, UNSEEN, Digits, Scene, compose_scene, split_digits, write_split

# split: stream of random numbers, handwriting, whether it shows the known digits alone, scenes
SPLITS = {
    "train": (10, "train", True, 1000),
    "val": (11, "val", True, 160),
    "test": (12, UNSEEN, False, 160),
}
ON_OBJECT_IOU = 0.5
CPU = InferenceOptions(device="cpu")


def compose(split: str, known: Sequence[int]) -> Iterator[Scene]:
    """Compose the scenes of a split, one after the other."""
    stream, handwriting, known_only, count = SPLITS[split]
    digits, photos = split_digits(handwriting), load_sample_images().images
    if known_only:
        rows = np.isin(digits.labels, known)
        digits = Digits(digits.images[rows], digits.labels[rows])
    for number in range(count):
        yield compose_scene(np.random.default_rng([SEED, stream, number]), digits, photos)


def write_digits(folder: Path, known: Sequence[int]) -> None:
    """Write the data set, in which the training and validation splits lack the other digits."""
    for split in SPLITS:
        path = folder / "annotations" / f"instances_{split}.json"
        if not path.exists():
            write_split(folder, split, compose(split, known))
            content = json.loads(path.read_text())
            if SPLITS[split][2]:
                content["categories"] = [content["categories"][label] for label in known]
            path.write_text(json.dumps(content))


def train_digits(data: Path, output: Path, seed: int, minutes: float | None) -> None:
    """Train as the demo does, or in a time with the options that are chosen for the data."""
    if (output / "eval" / "metrics.json").exists():
        return
    centernet2.train(
        centernet2.load_config("CenterNet2_R18_small", OVERRIDES) if minutes is None else None,
        data=data, output_dir=output, seed=seed, device="cpu",
        resume=(output / "command.yaml").exists(), mode=TrainMode(minutes=minutes),
    )  # fmt: skip


def calibrate(name: str, weights: Path, data: Path, target: Path) -> None:
    """Calibrate a detector into another file; print the errors, and AP before and after."""
    errors = threshold(weights, data=data, output=target, device="cpu").errors
    ap = [
        centernet2.evaluate(path, data=data, inference=CPU)["bbox/AP"] for path in (weights, target)
    ]
    changes = {kind: [round(value, 2) for value in error] for kind, error in errors.items()}
    report("calibration", data=name, errors=changes, AP=ap)


def count_unknown(weights: Path, data: Path, known: Sequence[int], images: int) -> None:
    """Detect in the images with all digits; print what becomes of known and unknown objects."""
    path = data / "annotations" / "instances_test.json"
    dataset = load_dataset(data=path, data_path=None, names=(), split="val")
    before = centernet2.load_predictor(weights, device="cpu")
    after = centernet2.load_predictor(weights, device="cpu", abstain=True)
    names = {str(label) for label in known}
    recalled, found, lost = list[bool](), 0, 0
    for i in range(images):
        pixels = read_image(dataset.image_path(i))
        plain, abstained = (
            each(pixels, score_threshold=each.shown_threshold(None)) for each in (before, after)
        )
        for name, first, second in objects_of(dataset, i, plain, abstained):
            if name not in names:
                recalled.append(second == UNKNOWN_CLASS)
            elif first == name:
                found += 1
                lost += second != name
    report(
        "unknown", held_out=sorted({str(n) for n in range(10)} - names), objects=len(recalled),
        recall=round(float(np.mean(recalled)), 3), found=found, lost=round(lost / found, 3),
    )  # fmt: skip


def objects_of(
    dataset: DetectionDataset, i: int, *predictions: Prediction
) -> Iterator[tuple[str, ...]]:
    """Yield the class of each object and that of the best detection on it; "": there is none."""
    rows = slice(int(dataset.offsets[i]), int(dataset.offsets[i + 1]))
    for box, label in zip(dataset.boxes(rows), dataset.labels[rows], strict=True):
        best = []
        for each in predictions:
            on = box_iou_matrix(box[None], each.boxes)[0] >= ON_OBJECT_IOU
            best.append(
                next((name for name, is_on in zip(each.names, on, strict=True) if is_on), "")
            )
        yield dataset.class_names[label], *best


def report(benchmark: str, **results: Any) -> None:
    print(json.dumps({"benchmark": benchmark, **results, **machine()}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--held-out", type=int, nargs="+", default=[7, 8, 9])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=SPLITS["test"][3])
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()
    if options.data is not None:
        calibrate(options.data.name, options.weights, options.data, options.output / "own.pth")
    known = [label for label in range(10) if label not in options.held_out]
    name = "".join(map(str, options.held_out))
    data, trained = options.output / f"digits_{name}", name
    if options.minutes is not None:
        trained += f"_{options.minutes:g}min"
    run, weights = options.output / f"run_{trained}", options.output / f"calibrated_{trained}.pth"
    write_digits(data, known)
    train_digits(data, run, options.seed, options.minutes)
    calibrate(data.name, run / "model_final.pth", data, weights)
    count_unknown(weights, data, known, options.images)


if __name__ == "__main__":
    main()
