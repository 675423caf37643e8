"""Merging of the boxes of many tiles, ours / torchvision's NMS of each class.

python benchmarks/merging.py [--boxes 33000] [--runs 5]

Boxes are scattered over 6,000 x 4,000 pixels, each object seen in two tiles, or crowded in one
place. torchvision's NMS suppresses whole boxes only. Memory is the peak of what NumPy allocates.
"""

import argparse
import tracemalloc
from functools import partial

import numpy as np
import torch
import torchvision
from harness import compare

from centernet2.predict.merging import Parts, merge

SIZE, MARGIN, NUM_CLASSES = (6000, 4000), 10.0, 10
CUT = 0.1  # fraction of boxes at a seam


def scattered(count: int, rng: np.random.Generator) -> np.ndarray:
    corners = rng.uniform(0, 1, (count // 2, 2)) * SIZE
    sides = np.exp(rng.normal(np.log(30), 0.5, (count // 2, 2)))
    boxes = np.concatenate([corners, corners + sides], axis=1)
    return np.concatenate([boxes, boxes + rng.normal(0, 1, boxes.shape)])


def crowded(count: int, rng: np.random.Generator) -> np.ndarray:
    corners, sides = rng.normal(500, 5, (count, 2)), rng.uniform(80, 120, (count, 2))
    return np.concatenate([corners, corners + sides], axis=1)


def make_parts(boxes: np.ndarray, rng: np.random.Generator, cut: float) -> Parts:
    count = len(boxes)
    return Parts(
        boxes.astype(np.float32),
        rng.random(count, dtype=np.float32),
        rng.integers(0, NUM_CLASSES, count),
        np.eye(4, dtype=bool)[rng.integers(0, 4, count)] & (rng.random((count, 1)) < cut),
        np.zeros(count, dtype=bool),
    )


def peak_megabytes(parts: Parts) -> float:
    tracemalloc.start()
    merge(parts, margin=MARGIN)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return round(peak / 1e6, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boxes", type=int, default=33_000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    for name, make, cut in (("scattered", scattered, CUT), ("crowded", crowded, 0.0)):
        parts = make_parts(make(arguments.boxes, rng), rng, cut)
        tensors = [torch.from_numpy(column) for column in parts[:3]]
        works = {
            "ours": partial(merge, parts, margin=MARGIN),
            "torchvision": partial(torchvision.ops.batched_nms, *tensors, 0.5),
        }
        megabytes = peak_megabytes(parts)
        compare(f"merging, {name}", works, runs=arguments.runs, peak_megabytes=megabytes)


if __name__ == "__main__":
    main()
