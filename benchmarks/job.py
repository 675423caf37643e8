"""The whole job: `centernet2 train` from JPEG files to weights, against the reference's trainer.

python benchmarks/job.py --reference FOLDER [--edge 320] [--steps 20] [--runs 3] [--photos FOLDER]

Both commands read the same files, with the same options, in the same number of loader workers and
threads (OMP_NUM_THREADS), and start from random weights. Each is run with few steps and with
--steps more; the difference is what a long run consists of. Then the parts of ours are timed:
steps, with the waiting for data, and each callback, such as logging, one checkpoint and one
evaluation. FOLDER holds the reference as reference.py builds it; without it, ours is measured.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from data_speed import BOXES, SIZES, write_images
from harness import machine, spread

CONFIG, CLASSES, IMAGES, EVALUATED, BATCH = "CenterNet2_R50_1x", 80, 32, 8, 2
START = 4  # steps of the short run: the first ones fetch memory from the system
PROGRAM = """
import json, time
from centernet2.builders.training import training_run
from centernet2.cli import main

seconds = {}
train = training_run.train_loop

def timed(callback):
    def call(step):
        started = time.perf_counter()
        callback(step)
        name = getattr(callback, "__name__", type(callback).__name__)
        seconds[name] = seconds.get(name, 0) + time.perf_counter() - started
    return call

def train_loop(*arguments, callbacks, **options):
    def add(step):
        for name in ("step_time", "data_time"):
            seconds[name] = seconds.get(name, 0) + getattr(step, name)
    started = time.perf_counter()
    train(*arguments, callbacks=[add, *map(timed, callbacks)], **options)
    print(json.dumps({"loop": time.perf_counter() - started, **seconds}), flush=True)

training_run.train_loop = train_loop
main()
"""


def write_data(folder: Path, photos: list[Path]) -> None:
    """Write JPEG files, and a COCO file for each split."""
    images, annotations = folder / "images", folder / "annotations"
    for each in (images, annotations):
        each.mkdir(parents=True)
    dataset = write_images(images, IMAGES, SIZES["coco"], photos)
    (images / "sizes.json").unlink()
    height, width = SIZES["coco"]
    rows = [
        {"id": k, "image_id": k // BOXES, "category_id": k % CLASSES + 1, "bbox": box, "area": 1.0,
         "iscrowd": 0}
        for k, box in enumerate(dataset.xywh.tolist())
    ]  # fmt: skip
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "height": height, "width": width}
            for i in range(IMAGES)
        ],
        "annotations": rows,
        "categories": [{"id": i, "name": f"class {i}"} for i in range(1, CLASSES + 1)],
    }
    for split, count in {"train": IMAGES, "val": EVALUATED}.items():
        own = {"images": content["images"][:count], "annotations": rows[: count * BOXES]}
        (annotations / f"instances_{split}.json").write_text(json.dumps(content | own))


def command_of(side: str, options: argparse.Namespace, data: Path) -> list[str]:
    """Return the command of a side without the options that both know."""
    if side == "ours":
        command = ["train", "--config-file", CONFIG, "--data", str(data)]
        return ["-m", "centernet2", *command]
    program = str(Path(__file__).with_name("reference.py"))
    files = [str(data / "annotations" / "instances_train.json"), str(data / "images")]
    return [program, "train", str(options.reference), CONFIG, *files]


def words(folder: Path, steps: int, edge: int, eval_period: int = -1) -> list[str]:
    """Return the options of a job, which both sides know; -1: without an evaluation."""
    values = {
        "SOLVER.MAX_ITER": steps, "SOLVER.IMS_PER_BATCH": BATCH, "MODEL.WEIGHTS": "",
        "INPUT.MIN_SIZE_TRAIN": f"({edge},)", "INPUT.MIN_SIZE_TEST": edge,
        "OUTPUT_DIR": tempfile.mkdtemp(dir=folder), "TEST.EVAL_PERIOD": eval_period,
        # On current PyTorch the reference's clipping fails where a parameter has no gradient;
        # without it, only a small rate keeps random weights from diverging.
        "SOLVER.CLIP_GRADIENTS.ENABLED": False, "SOLVER.BASE_LR": 1e-6,
    }  # fmt: skip
    return [str(word) for pair in values.items() for word in pair]


def run(command: list[str]) -> tuple[float, str]:
    """Return the time of a command, and what it printed."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - started, done.stdout


def costs(command: list[str]) -> dict[str, float]:
    """Return the seconds of the steps of our job, and of what is done between them."""
    _, printed = run([sys.executable, "-c", PROGRAM, *command])
    found: dict[str, float] = json.loads(printed.splitlines()[0])
    return {name: round(value, 4) for name, value in found.items()}


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the jobs in turn; return times and ratios."""
    sides = ["ours"] if options.reference is None else ["ours", "reference"]
    commands = {side: command_of(side, options, folder / "data") for side in sides}

    def job(side: str, steps: int) -> float:
        return run([sys.executable, *commands[side], *words(folder, steps, options.edge)])[0]

    start = {side: job(side, START) for side in sides}
    whole: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(options.runs):
        for side in sides:
            whole[side].append(job(side, START + options.steps))
    steps = {side: [(each - start[side]) / options.steps for each in whole[side]] for side in sides}
    last = words(folder, START + options.steps, options.edge, eval_period=0)
    return {
        "seconds of the start and the first steps": start,
        "seconds of a step": {side: spread(each) for side, each in steps.items()},
        "images per second": {side: BATCH / median(each) for side, each in steps.items()},
        **{
            f"{what}, ours / reference": spread(
                [a / b for a, b in zip(of["ours"], of["reference"], strict=True)]
            )
            for what, of in {"step": steps, "whole job": whole}.items()
            if "reference" in of
        },
        "seconds of our steps and of what is between them": costs([*commands["ours"][2:], *last]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reference", type=Path, help="folder that reference.py has built")
    parser.add_argument("--edge", type=int, default=320, help="shorter edge of the images")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--photos", type=Path, help="folder of JPEG files that images are made of")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = sorted(options.photos.glob("*.jpg")) if options.photos else []
        write_data(Path(folder) / "data", photos)
        found = measure(options, Path(folder))
    print(json.dumps({"benchmark": "job", **found, "runs": options.runs, **machine()}))


if __name__ == "__main__":
    main()
