"""Processor time of the training process to receive a batch from a worker: packed / as a list.

python benchmarks/worker_transfer.py [--images 8] [--size 160 160] [--runs 31]

Each image has a target of two small tensors. The worker only makes them, so that its batches are
there when they are asked for.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from harness import compare
from torch.utils.data import DataLoader, Dataset

from centernet2.data.worker_images import LoadedImage
from centernet2.data.worker_transfer import pack, unpack
from centernet2.structures import Target

OBJECTS = 5  # of an image


class Images(Dataset[LoadedImage]):
    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> LoadedImage:
        target = Target(boxes=torch.rand(OBJECTS, 4), labels=torch.zeros(OBJECTS).long())
        image = torch.zeros(3, *self.size, dtype=torch.uint8)
        return LoadedImage([], image, target, index, index, self.size)


def batches(images: Images, count: int, collate: Callable[[Any], Any]) -> Iterator[Any]:
    return iter(DataLoader(images, batch_size=count, num_workers=1, collate_fn=collate))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--size", nargs=2, type=int, default=(160, 160))
    parser.add_argument("--runs", type=int, default=31)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = Images((options.size[0], options.size[1]))
    packed, as_list = batches(images, options.images, pack), batches(images, options.images, list)
    compare(
        "transfer of a batch from a worker",
        {"packed": lambda: unpack(next(packed)), "list": lambda: next(as_list)},
        warm_up=3,
        runs=options.runs,
        clock=time.process_time,
        images=options.images,
        size=options.size,
    )


if __name__ == "__main__":
    main()
