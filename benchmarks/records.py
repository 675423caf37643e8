"""Seconds and memory of one process by number of images, for what every image passes through.

python benchmarks/records.py [--images 10000 100000] [--parts index check evaluation prediction]

The records are synthetic: two objects and ten detections in an image of 480 x 640. No image file is
read, and the detector is a stand-in: what is measured is our own work for each record, in processor
time of one thread. Each part at each size is a process of its own. The slope is that of seconds
against images, both logarithmic, between the two largest sizes: 1 is linear.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import machine
from PIL import Image

from centernet2.data.check import examination
from centernet2.data.dataset import DetectionDataset
from centernet2.data.image_check import ImageFacts
from centernet2.data.readers.coco import load_coco
from centernet2.devices import peak_memory
from centernet2.evaluation.coco_metrics import coco_metrics
from centernet2.predict.output_files import open_outputs
from centernet2.predict.predictor import Predictor
from centernet2.structures import Detections, ModelInfo

HEIGHT, WIDTH, CLASSES, OBJECTS, DETECTIONS = 480, 640, 80, 2, 10
AT_ONCE = 10_000  # records that are written at once


def write_records(path: Path, images: int, seed: int) -> None:
    """Write a COCO file piece by piece."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    categories = [{"id": i, "name": f"class {i}"} for i in range(1, CLASSES + 1)]
    with path.open("w") as file:
        file.write(f'{{"categories": {json.dumps(categories)}, "images": [')
        write_pieces(file.write, images, lambda ids: image_records(ids, seed))
        file.write('], "annotations": [')
        write_pieces(file.write, images, lambda ids: object_records(ids, rng))
        file.write("]}")


def write_pieces(
    write: Callable[[str], object], images: int, records: Callable[[range], Iterable[Any]]
) -> None:
    for first in range(0, images, AT_ONCE):
        ids = range(first, min(first + AT_ONCE, images))
        write(("," if first else "") + json.dumps([*records(ids)])[1:-1])


def image_records(ids: range, seed: int) -> Iterator[dict[str, Any]]:
    for i in ids:
        yield {"id": i, "file_name": f"{seed}_{i}.jpg", "height": HEIGHT, "width": WIDTH}


def object_records(ids: range, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    corner = rng.uniform(0, 300, (len(ids) * OBJECTS, 2)).round(1)
    size = rng.uniform(10, 150, (len(ids) * OBJECTS, 2)).round(1)
    labels = rng.integers(1, CLASSES + 1, len(corner)).tolist()
    for k, (box, label) in enumerate(zip(np.hstack([corner, size]).tolist(), labels, strict=True)):
        yield {
            "id": ids[0] * OBJECTS + k, "image_id": ids[k // OBJECTS], "category_id": label,
            "bbox": box, "area": box[2] * box[3], "iscrowd": 0,
        }  # fmt: skip


def index(folder: Path, images: int) -> Callable[[], object]:
    path = folder / "annotations" / "instances_train.json"
    write_records(path, images, seed=0)
    return lambda: load_coco(path, folder, name="synthetic")


def check(folder: Path, images: int) -> Callable[[], object]:
    """Check a training split, and a validation split of a tenth."""
    (folder / "images").mkdir()
    for seed, (split, count) in enumerate({"train": images, "val": images // 10}.items()):
        write_records(folder / "annotations" / f"instances_{split}.json", count, seed)
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "images" / f"{seed}_0.jpg")
    examination.read_image_files = stand_in_facts
    return lambda: examination.examine_dataset(folder)


def stand_in_facts(dataset: DetectionDataset) -> list[ImageFacts]:
    """Return what image files would say, each with other pixels."""
    rng = np.random.default_rng(len(dataset))
    thumbnails = rng.uniform(0, 255, (len(dataset), 8, 9)).astype(np.float32)
    return [ImageFacts("", (HEIGHT, WIDTH), thumbnail=own) for own in thumbnails]


def evaluation(folder: Path, images: int) -> Callable[[], object]:
    """Score detections near the objects, and others."""
    dataset = index(folder, images)()
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(images * OBJECTS), DETECTIONS // OBJECTS)
    boxes = dataset.xywh[rows] + rng.normal(0, 5, (len(rows), 4))
    results = np.column_stack(
        [rows // OBJECTS, boxes.clip(min=1), rng.random(len(rows)), dataset.labels[rows]]
    )
    return lambda: coco_metrics(dataset, results)


class StandIn(torch.nn.Module):
    """A detector whose detections are always the same."""

    info = ModelInfo(class_names=tuple(f"class {i}" for i in range(CLASSES)))
    num_classes = CLASSES

    def detect(self, images: list[torch.Tensor]) -> list[Detections]:
        boxes = torch.tensor([[10.0, 10, 60, 60]]).expand(DETECTIONS, 4)
        own: Detections = {
            "boxes": boxes,
            "scores": torch.linspace(0.9, 0.5, DETECTIONS),
            "labels": torch.arange(DETECTIONS),
        }
        return [own] * len(images)


def prediction(folder: Path, images: int) -> Callable[[], object]:
    """Predict on arrays of 16 x 16, and write records, COCO results and a table."""
    predictor = Predictor(StandIn(), resize=lambda image: image)
    pixels = (np.zeros((16, 16, 3), np.uint8) for _ in range(images))

    def run() -> None:
        with open_outputs(folder, ("json", "csv"), StandIn.info.class_names) as outputs:
            for each in predictor.stream(pixels):
                outputs.write(each)

    return run


PARTS = {"index": index, "check": check, "evaluation": evaluation, "prediction": prediction}


def measure(part: str, images: int) -> None:
    """Print the seconds of one part in this process, and its peak memory."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CENTERNET2_CACHE"] = f"{folder}/cache"
        work = PARTS[part](Path(folder), images)
        started = time.process_time()
        work()
        seconds = time.process_time() - started
    print(json.dumps({"seconds": seconds, "bytes": peak_memory(torch.device("cpu"))}))


def ask(part: str, images: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", part, str(images)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def slope(images: Sequence[int], seconds: Sequence[float]) -> float | None:
    """Return the slope of the last two sizes, both logarithmic."""
    if len(images) < 2:
        return None
    return round(math.log(seconds[-1] / seconds[-2]) / math.log(images[-1] / images[-2]), 3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", nargs="+", type=int, default=[10_000, 100_000])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.one[0], int(options.one[1]))
        return
    for part in options.parts:
        answers = [ask(part, images) for images in options.images]
        seconds = [round(each["seconds"], 3) for each in answers]
        results = {
            "benchmark": f"records, {part}",
            "images": options.images,
            "seconds": seconds,
            "megabytes": [round(each["bytes"] / 2**20) for each in answers],
            "microseconds per image": [
                round(1e6 * s / n, 1) for s, n in zip(seconds, options.images, strict=True)
            ],
            "slope": slope(options.images, seconds),
            **machine(),
        }
        print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
