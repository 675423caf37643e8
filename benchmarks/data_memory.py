"""Memory of the index of a data set in a training process and its four workers.

python benchmarks/data_memory.py [--size coco|objects365] [--workers 4] [--peer COMMAND]

Each side is a program of its own: COMMAND IMAGES BOXES WORKERS. It makes an index of that many
images and boxes, starts the workers, has each of them read the records of 2,000 images, and writes
one line of JSON in bytes: {"pss": of all processes together, "uss": largest of a worker}. What the
processes need with an index of 10 images is subtracted. PSS counts a page that n processes share as
1/n of a page in each; USS counts the pages that one process alone has. Programs and libraries are
left out, since their share changes with what else runs on the machine.

The default peer holds what detectron2's DatasetFromList does: each image's dictionary pickled, all
in one tensor. The pickles are made one by one, so the list of dictionaries, which is far larger, is
left out.
"""

import argparse
import json
import multiprocessing
import os
import pickle
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import machine, spread

from centernet2.data.dataset import DetectionDataset, without_empty_images
from centernet2.data.index import load_index, save_index
from centernet2.data.sharing import offsets_of

SIZES = {"coco": (120_000, 860_000), "objects365": (1_700_000, 25_000_000)}
READS = 2_000
Read = Callable[[int], object]


def synthetic(images: int, boxes: int) -> DetectionDataset:
    rng = np.random.default_rng(0)
    counts = np.bincount(rng.integers(0, images, boxes), minlength=images)
    return DetectionDataset(
        name="synthetic",
        class_names=tuple(f"class {i}" for i in range(80)),
        category_ids=tuple(range(80)),
        folder=Path("/data/train"),
        annotations=None,
        files=np.char.add(np.char.zfill(np.arange(images).astype("S12"), 12), b".jpg"),
        image_ids=np.arange(images),
        heights=np.full(images, 480, np.int32),
        widths=np.full(images, 640, np.int32),
        offsets=offsets_of(counts),
        xywh=rng.random((boxes, 4)) * 600,
        labels=rng.integers(0, 80, boxes).astype(np.int32),
        areas=rng.random(boxes),
        crowd=np.zeros(boxes, bool),
    )


def ours(images: int, boxes: int) -> Read:
    """Map an index from the cache as training does, without images without objects."""
    path = Path(tempfile.mkdtemp()) / "synthetic.index"
    child = multiprocessing.Process(
        target=lambda: save_index(path, synthetic(images, boxes), [(0, "")])
    )
    child.start()  # its memory goes with it
    child.join()
    dataset = load_index(path, [(0, "")])
    assert dataset is not None
    path.unlink()  # the mapping stays, as a deleted file
    kept = without_empty_images(dataset)
    return lambda i: (
        kept.image_path(i % len(kept)),
        kept.size(i % len(kept)),
        kept.target(i % len(kept)),
    )


def records(images: int, boxes: int) -> Iterator[dict[str, Any]]:
    """Yield the dictionaries that detectron2's reader of COCO files makes of images."""
    dataset = synthetic(images, boxes)
    for i in range(images):
        first, end = dataset.offsets[i : i + 2].tolist()
        annotations = [
            {"iscrowd": 0, "bbox": box, "category_id": label, "bbox_mode": 1}
            for box, label in zip(
                dataset.xywh[first:end].round(2).tolist(),
                dataset.labels[first:end].tolist(),
                strict=True,
            )
        ]  # fmt: skip
        height, width = dataset.size(i)
        yield {
            "file_name": str(dataset.image_path(i)), "height": height, "width": width,
            "image_id": i,
            "annotations": annotations,
        }  # fmt: skip


def pickled(images: int, boxes: int) -> Read:
    """Hold all pickles in one tensor, with the position at which each ends."""
    content, ends = bytearray(), []
    for record in records(images, boxes):
        content += pickle.dumps(record, protocol=-1)
        ends.append(len(content))
    tensor, end = torch.frombuffer(content, dtype=torch.uint8), torch.tensor(ends)
    del ends
    return lambda i: pickle.loads(memoryview(tensor[end[i - 1] if i else 0 : end[i]].numpy()))


KINDS: dict[str, Callable[[int, int], Read]] = {"ours": ours, "pickled": pickled}


def memory(process: int) -> tuple[int, int]:
    """PSS and USS of a process in bytes, without programs and libraries."""
    pss = uss = 0
    counts = False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        key, *rest = line.split()
        if not key.endswith(":"):  # the head of a mapping, with a path if it is of a file
            path = " ".join(rest[4:])
            # the index is a deleted file, see `ours`
            counts = not path.startswith("/") or path.endswith("(deleted)")
        elif counts and key == "Pss:":
            pss += int(rest[0])
        elif counts and key in ("Private_Clean:", "Private_Dirty:"):
            uss += int(rest[0])
    return pss * 1024, uss * 1024


def measure(kind: str, images: int, boxes: int, workers: int) -> tuple[int, int]:
    """PSS of all processes together, and the greatest USS of a worker."""
    read = KINDS[kind](images, boxes)
    context = multiprocessing.get_context("fork")
    ready, done = context.Semaphore(0), context.Event()

    def work(seed: int) -> None:
        for i in np.random.default_rng(seed).integers(0, images, READS).tolist():
            read(i)
        ready.release()
        done.wait()

    processes = [context.Process(target=work, args=(seed,)) for seed in range(workers)]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    own, *others = [
        memory(pid) for pid in (os.getpid(), *(process.pid or 0 for process in processes))
    ]
    done.set()
    for process in processes:
        process.join()
    return own[0] + sum(pss for pss, _ in others), max(uss for _, uss in others)


def answer(kind: str, images: int, boxes: int, workers: int) -> None:
    started = time.perf_counter()
    whole = measure(kind, images, boxes, workers)
    seconds = time.perf_counter() - started
    print(json.dumps({"pss": whole[0], "uss": whole[1], "seconds": seconds}), flush=True)


def ask(command: str, images: int, boxes: int, workers: int) -> dict[str, float]:
    def run(images: int, boxes: int) -> dict[str, float]:
        arguments = [*shlex.split(command), str(images), str(boxes), str(workers)]
        output = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True).stdout
        return dict(json.loads(output.splitlines()[-1]))

    empty, full = run(10, 100), run(images, boxes)
    return {"bytes": full["pss"] - empty["pss"], "worker": full["uss"] - empty["uss"]}


def load_seconds(images: int, boxes: int) -> float:
    """Time to load an index from the cache, and to read each of its boxes once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "synthetic.index"
        save_index(path, synthetic(images, boxes), [(0, "")])
        started = time.perf_counter()
        dataset = load_index(path, [(0, "")])
        assert dataset is not None and np.isfinite(dataset.xywh).all()
        return time.perf_counter() - started


def main() -> None:
    if sys.argv[1:2] == ["--as"]:
        return answer(sys.argv[2], *map(int, sys.argv[3:6]))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    program = f"{sys.executable} {Path(__file__).resolve()} --as"
    parser.add_argument("--size", choices=SIZES, default="coco")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--peer", default=f"{program} pickled", help="command of the other side")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    images, boxes = SIZES[options.size]
    commands = {"ours": f"{program} ours", "peer": options.peer}
    answers: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for _ in range(options.runs):
        for name, command in commands.items():
            answers[name].append(ask(command, images, boxes, options.workers))
    megabytes = {
        name: {key: spread([each[key] / 2**20 for each in values]) for key in ("bytes", "worker")}
        for name, values in answers.items()
    }
    pairs = zip(answers["ours"], answers["peer"], strict=True)
    results = {
        "benchmark": "index_memory",
        "images": images,
        "boxes": boxes,
        "workers": options.workers,
        "megabytes": megabytes,
        "ratio": {"ours / peer": spread([a["bytes"] / b["bytes"] for a, b in pairs])},
        "load_seconds": spread([load_seconds(images, boxes) for _ in range(options.runs)]),
        "runs": options.runs,
        **machine(),
    }
    print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
