"""AP against minutes of training, and against images, on a data set of the user.

python benchmarks/small_data.py DATA --output FOLDER [--minutes 1 2 5 10 20] [--images 10 30 100]
    [--seeds 0 1 2] [--rival-minutes 5 20] [--rivals ssdlite fasterrcnn fasterrcnn-lite yolo11n]
    [--threads 2] [--list] [--plot FILE.svg]

DATA has a training and a validation split in any layout. Runs follow one another, ours first; each
is a process of its own with the same clock, which includes its start, its data and its evaluation.
FOLDER/results.jsonl gets a line per run: a run that is in it is not repeated, and an interrupted
one of ours is resumed. --images takes the longest time on a part of the training images, drawn at
random. Rivals have one seed. --list prints what is to be done. --plot draws AP against minutes, in
the mean of the seeds so far.

Rivals: torchvision's SSDlite320 and Faster R-CNN with MobileNetV3, from scratch since their weights
must be downloaded, Faster R-CNN with our Lite backbone and its ImageNet weights, and YOLO11n of
ultralytics, from scratch for the same reason, by its command `yolo`, which must be installed.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from charts import draw_curves
from harness import machine
from torch import Tensor, nn
from torchvision.models.detection import (
    FasterRCNN,
    fasterrcnn_mobilenet_v3_large_320_fpn,
    ssdlite320_mobilenet_v3_large,
)
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork

import centernet2
from centernet2.builders.data.data_pipeline import build_train_batches
from centernet2.builders.detector.initial_weights import read_timm_weights
from centernet2.builders.detector.network import build_backbone_and_neck
from centernet2.builders.evaluation.evaluator import evaluate_predictions
from centernet2.data import WRITERS, DetectionDataset
from centernet2.data.readers import load_dataset
from centernet2.images.image_files import read_image
from centernet2.images.stored_image import to_tensor

OURS = "ours"
YOLO = "yolo11n"
RIVALS = ("ssdlite", "fasterrcnn", "fasterrcnn-lite", YOLO)
BATCH, RATE, WARM_UP = 4, 0.01, 0.03  # of the rivals; the last one as a share of the time
YOLO_SIDE = 320  # pixels, as of the others
YOLO_START, YOLO_EVALUATION = 15, 0.25  # seconds, and seconds per validation image, kept for them
TRIED_IMAGES = 8  # whose detection is timed before the training of a rival
ALL = 0  # images


class Task(NamedTuple):
    """One run."""

    method: str
    minutes: float
    images: int  # ALL: the whole training split
    seed: int

    @property
    def name(self) -> str:
        images = self.images or "all"
        return f"{self.method}_{self.minutes:g}min_{images}_seed{self.seed}"


def tasks_of(options: argparse.Namespace) -> list[Task]:
    """List the runs: ours over the minutes and over the images, then the rivals."""
    longest = max(options.minutes)
    ours = [Task(OURS, m, ALL, s) for m in options.minutes for s in options.seeds]
    ours += [Task(OURS, longest, n, s) for n in options.images for s in options.seeds]
    first = options.seeds[0]
    rivals = [Task(r, m, ALL, first) for r in options.rivals for m in options.rival_minutes]
    rivals += [Task(r, longest, n, first) for r in options.rivals for n in options.images]
    return ours + rivals


def write_part(data: Path, folder: Path, task: Task, layout: str) -> Path:
    """Write a data set with the training images of a task and all validation images, once."""
    target = folder / f"{layout}_{task.images or 'all'}_seed{task.seed}"
    if not target.exists():
        for split in ("train", "val"):
            dataset = load_dataset(data=data, data_path=None, names=(), split=split)
            if split == "train" and task.images != ALL:
                order = np.random.default_rng(task.seed).permutation(len(dataset))
                dataset = dataset.subset(np.sort(order[: task.images]))
            WRITERS[layout](dataset, target, split)
    return target


def train_ours(task: Task, data: Path, output: Path) -> None:
    """Run the command with its defaults."""
    command = [
        sys.executable, "-m", "centernet2", "train", str(data), "--output-dir", str(output),
        "--minutes", str(task.minutes), "--seed", str(task.seed), "--device", "cpu",
    ]  # fmt: skip
    subprocess.run(command + ["--resume"] * (output / "command.yaml").exists(), check=True)


class LitePyramid(nn.Module):
    """Our Lite backbone with its ImageNet weights, and torchvision's FPN."""

    out_channels = 64

    def __init__(self) -> None:
        super().__init__()
        config = centernet2.load_config("CenterNet2_Lite_N")
        self.body, _ = build_backbone_and_neck(config)
        weights = read_timm_weights(config.backbone.timm.name).tensors
        self.body.body.load_state_dict(weights, strict=False)
        self.fpn = FeaturePyramidNetwork([*self.body.channels.values()], self.out_channels)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.fpn(self.body(images)).values()
        return {str(i): x for i, x in enumerate(maps)}  # the names that torchvision's pooler takes


def train_yolo(task: Task, data: Path, output: Path) -> None:
    """Train by the command of ultralytics, whose time begins at its first step, and detect."""
    val_set = load_dataset(data=data, data_path=None, names=(), split="val")
    seconds = 60 * task.minutes - YOLO_START - YOLO_EVALUATION * len(val_set)
    yaml = write_part(data, output.parent / "data", task, "yolo") / "data.yaml"
    options = [
        f"data={yaml}",
        "device=cpu",
        f"imgsz={YOLO_SIDE}",
        f"project={output}",
        "plots=False",
    ]
    train = [f"model={YOLO}.yaml", f"time={seconds / 3600}", f"seed={task.seed}", "name=train"]
    subprocess.run(["yolo", "detect", "train", *options, *train, "val=False"], check=True)
    weights = output / "train" / "weights" / "last.pt"
    val = [f"model={weights}", "save_json=True", "name=val"]
    subprocess.run(["yolo", "detect", "val", *options, *val], check=True)
    rows = json.loads((output / "val" / "predictions.json").read_text())
    ids = {Path(val_set.file_name(i)).name: val_set.image_id(i) for i in range(len(val_set))}
    for row in rows:
        row["image_id"] = ids[row.pop("file_name")]
        row["category_id"] = val_set.category_ids[row["category_id"] - 1]  # counted from 1
    evaluate_rows(rows, data, output)


def build_rival(method: str, num_classes: int) -> nn.Module:
    """Build a detector of torchvision; class 0 is the background."""
    plain: dict[str, Any] = {"weights": None, "weights_backbone": None}
    if method == "ssdlite":
        return ssdlite320_mobilenet_v3_large(num_classes=num_classes + 1, **plain)
    if method == "fasterrcnn":
        return fasterrcnn_mobilenet_v3_large_320_fpn(num_classes=num_classes + 1, **plain)
    sizes = ((16, 24, 32), (48, 64, 96), (128, 192, 256))
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    half = [0.5, 0.5, 0.5]
    return FasterRCNN(
        LitePyramid(), num_classes + 1, rpn_anchor_generator=anchors, min_size=320, max_size=640,
        image_mean=half, image_std=half,
    )  # fmt: skip


def train_rival(task: Task, data: Path, output: Path, started: float) -> None:
    """Train a detector of torchvision in the time, with a cosine over it, and detect."""
    torch.manual_seed(task.seed)
    config = centernet2.load_config(
        "CenterNet2_Lite_N", {"SOLVER.IMS_PER_BATCH": BATCH, "SEED": task.seed}
    )
    train_set, val_set = (
        load_dataset(data=data, data_path=None, names=(), split=split) for split in ("train", "val")
    )
    model = build_rival(task.method, len(train_set.class_names))
    before = time.monotonic()
    detect(model, val_set.subset(np.arange(min(TRIED_IMAGES, len(val_set)))))
    reserve = 1.1 * (time.monotonic() - before) * len(val_set) / TRIED_IMAGES
    end, begin = started + 60 * task.minutes - reserve, time.monotonic()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, RATE, momentum=0.9, weight_decay=1e-4)
    for batch in build_train_batches(config, train_set, start=0):
        share = (time.monotonic() - begin) / (end - begin)
        if share >= 1:
            break
        rate = RATE * min(1, share / WARM_UP + 0.01) * (1 + math.cos(math.pi * share)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        images = [image.float() / 255 for image in batch.images]
        targets = [{"boxes": t["boxes"], "labels": t["labels"] + 1} for t in batch.targets]
        model.train()
        loss = sum(model(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
    evaluate_rows(detect(model, val_set), data, output)


def evaluate_rows(rows: list[dict[str, Any]], data: Path, output: Path) -> None:
    """Write rows of a COCO results file and evaluate them."""
    output.mkdir(parents=True, exist_ok=True)
    results = output / "predictions.json"
    results.write_text(json.dumps(rows))
    evaluate_predictions(results, data=data, output_dir=output / "eval")


@torch.no_grad()
def detect(model: nn.Module, dataset: DetectionDataset) -> list[dict[str, Any]]:
    """Detect in all images; return rows of a COCO results file."""
    model.eval()
    rows = []
    for i in range(len(dataset)):
        found = model([to_tensor(read_image(dataset.image_path(i))).float() / 255])[0]
        boxes = found["boxes"].clone()
        boxes[:, 2:] -= boxes[:, :2]
        for box, score, label in zip(boxes, found["scores"], found["labels"], strict=True):
            rows.append(
                {
                    "image_id": dataset.image_id(i),
                    "category_id": dataset.category_ids[int(label) - 1],
                    "bbox": box.tolist(),
                    "score": float(score),
                }
            )
    return rows


def run(task: Task, options: argparse.Namespace) -> dict[str, Any]:
    """Run one task in a process of its own; return its result."""
    data, output = Path(options.data), Path(options.output) / task.name
    if task.images != ALL:
        data = write_part(data, Path(options.output) / "data", task, "coco")
    started = time.monotonic()
    if task.method == OURS:
        train_ours(task, data, output)
    elif task.method == YOLO:
        train_yolo(task, data, output)
    else:
        one = [sys.executable, __file__, str(data), "--output", str(output), "--one"]
        subprocess.run([*one, *map(str, task), str(time.time())], check=True)
    seconds = time.monotonic() - started
    metrics = json.loads((output / "eval" / "metrics.json").read_text())
    return {**task._asdict(), "seconds": round(seconds, 1), "metrics": metrics, **machine()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--output", required=True)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 2, 5, 10, 20])
    parser.add_argument("--images", type=int, nargs="*", default=[10, 30, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rivals", choices=RIVALS, nargs="*", default=RIVALS)
    parser.add_argument("--rival-minutes", type=float, nargs="+", default=[5, 20])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)  # a task, and its start
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    if options.one:
        torch.set_num_threads(options.threads)
        method, minutes, images, seed, start = options.one
        task = Task(method, float(minutes), int(images), int(seed))
        started = time.monotonic() - (time.time() - float(start))
        train_rival(task, Path(options.data), Path(options.output), started)
        return
    lines = Path(options.output) / "results.jsonl"
    lines.parent.mkdir(parents=True, exist_ok=True)
    done = {Task(**{f: row[f] for f in Task._fields}) for row in rows_of(lines)}
    left = [task for task in tasks_of(options) if task not in done]
    print(f"{len(done)} runs are done, {len(left)} to do: "
          f"{sum(task.minutes for task in left) / 60:.1f} hours")  # fmt: skip
    for task in left:
        print(task.name, flush=True)
        if not options.list:
            with lines.open("a") as file:
                file.write(json.dumps(run(task, options)) + "\n")
    if options.plot is not None:
        draw(options.plot, list(rows_of(lines)))


def draw(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Draw AP on all images against minutes, the mean of the seeds, a curve per method."""
    found = defaultdict[str, defaultdict[float, list[float]]](lambda: defaultdict(list))
    for row in rows:
        if row["images"] == ALL:
            found[row["method"]][row["minutes"]].append(row["metrics"]["bbox/AP"])
    curves = {
        method: [(minutes, float(np.mean(aps))) for minutes, aps in sorted(points.items())]
        for method, points in found.items()
    }
    ticks = sorted({minutes for points in found.values() for minutes in points})
    draw_curves(path, "AP", "minutes", curves, ticks=ticks)


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the results so far."""
    if path.exists():
        yield from map(json.loads, path.read_text().splitlines())


if __name__ == "__main__":
    main()
