"""Scaling of time with pixels, objects and processes.

python benchmarks/scaling.py pixels|objects|processes [--config-file NAME] [--runs 5]
    [--plot FILE.svg]

pixels: inference and a training step on one image of 320 x 320 to 1280 x 1280. objects: a training
step on an image of 640 x 640 with 0 to 1,000 objects. processes: training steps of one process and
of two at one thread each, with and without gradient exchange; what is lost without it is due
to the machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from charts import draw_curves
from harness import machine, spread

import centernet2
from centernet2.builders.detector.loading import place
from centernet2.builders.detector.network import build_detector
from centernet2.devices import create_accelerator
from centernet2.models.detector import Detector
from centernet2.structures import Target

SIDES = (320, 480, 640, 960, 1280)
OBJECTS = (0, 1, 10, 100, 300, 1000)
STEPS = 8  # of a process in a round


def model_of(config_file: str) -> Detector:
    torch.manual_seed(0)
    return place(build_detector(centernet2.load_config(config_file)).train(), torch.device("cpu"))


def image_of(side: int) -> torch.Tensor:
    return torch.randint(
        0, 256, (3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def target_of(side: int, count: int, classes: int) -> Target:
    random = torch.Generator().manual_seed(0)
    low = torch.rand(count, 2, generator=random) * side * 0.9
    high = (low + torch.exp(torch.rand(count, 2, generator=random) * 3) * 8).clamp(max=side)
    return Target(
        boxes=torch.cat([low, high], dim=1),
        labels=torch.randint(classes, (count,), generator=random),
    )


def step(model: Any, side: int, count: int, batch: int = 1) -> None:
    targets = [target_of(side, count, 2)] * batch
    losses = model([image_of(side)] * batch, targets)
    torch.autograd.backward(torch.stack(list(losses.values())).sum())
    model.zero_grad()


def seconds(works: Sequence[Callable[[], object]], runs: int) -> list[dict[str, float]]:
    """Time each work, in turn."""
    for work in works:
        work()
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(runs):
        for work, values in zip(works, taken, strict=True):
            started = time.perf_counter()
            work()
            values.append(time.perf_counter() - started)
    return [spread(values) for values in taken]


def pixels(options: argparse.Namespace) -> dict[str, Any]:
    model = model_of(options.config_file).eval()

    @torch.inference_mode()
    def infer(side: int) -> None:
        model([image_of(side)])

    inferred = seconds([lambda side=side: infer(side) for side in SIDES], options.runs)
    model.train()
    trained = seconds([lambda side=side: step(model, side, 10) for side in SIDES], options.runs)
    curves = {"inference": medians(inferred), "training step": medians(trained)}
    megapixels = [side**2 / 1e6 for side in SIDES]
    if options.plot is not None:
        draw_curves(
            options.plot,
            "seconds",
            "megapixels",
            {name: list(zip(megapixels, curve, strict=True)) for name, curve in curves.items()},
            ticks=(0.4, 0.9, 1.6),
            proportional=True,
        )
    return {
        "sides": SIDES,
        "seconds": {"inference": inferred, "training step": trained},
        "seconds per megapixel": {
            name: [round(value / size, 3) for value, size in zip(values, megapixels, strict=True)]
            for name, values in curves.items()
        },
    }


def objects(options: argparse.Namespace) -> dict[str, Any]:
    model = model_of(options.config_file)
    taken = seconds(
        [lambda count=count: step(model, 640, count) for count in OBJECTS], options.runs
    )
    curve = medians(taken)
    if options.plot is not None:
        draw_curves(
            options.plot,
            "seconds of a training step",
            "objects",
            {"": list(zip(OBJECTS, curve, strict=True))},
            ticks=(100, 300, 1000),
        )
    return {
        "objects": OBJECTS,
        "seconds": taken,
        "ratio to no object": [round(each / curve[0], 3) for each in curve],
    }


def processes(options: argparse.Namespace) -> dict[str, Any]:
    alone = [sys.executable, __file__, "worker", "--config-file", options.config_file]
    joined = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        *alone[1:],
    ]
    rounds: list[tuple[float, float, float]] = []
    for _ in range(options.runs):
        rounds.append((rate([alone]), rate([alone, alone]), rate([joined])))
    one, apart, together = (statistics.median(values) for values in zip(*rounds, strict=True))
    return {
        "images per second": {
            "one process": one,
            "two, apart": apart,
            "two, exchanging gradients": together,
        },
        "efficiency": round(together / (2 * one), 3),
        "of the machine": round(apart / (2 * one), 3),
        "of the exchange": round(together / apart, 3),
    }


def rate(commands: Sequence[Sequence[str]]) -> float:
    """Images per second of all commands, started together."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(c, stdout=subprocess.PIPE, text=True, env=environment) for c in commands
    ]
    answers = [process.communicate()[0] for process in running]
    return sum(
        json.loads(line)["rate"]
        for answer in answers
        for line in answer.splitlines()
        if line.startswith("{")
    )


def worker(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    model = create_accelerator(torch.device("cpu")).prepare(model_of(options.config_file))
    for k in range(STEPS + 2):
        if k == 2:  # the first ones warm up
            started = time.perf_counter()
        step(model, 256, 5, batch=4)
    line = json.dumps({"rate": 4 * STEPS / (time.perf_counter() - started)})
    # at once, so that the lines of two processes stay apart
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def medians(taken: Sequence[dict[str, float]]) -> list[float]:
    return [each["median"] for each in taken]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["pixels", "objects", "processes", "worker"])
    parser.add_argument("--config-file", default="CenterNet2_R18_small")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--plot", type=Path, help="SVG to write")
    options = parser.parse_args()
    if options.what == "worker":
        worker(options)
        return
    torch.set_num_threads(options.threads)
    results = {"pixels": pixels, "objects": objects, "processes": processes}[options.what](options)
    print(
        json.dumps(
            {
                "benchmark": f"scaling with {options.what}",
                "config": options.config_file,
                **results,
                "runs": options.runs,
                **machine(),
            }
        )
    )


if __name__ == "__main__":
    main()
