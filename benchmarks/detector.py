"""Time and peak memory of a detector, for one image or a training step of two.

python benchmarks/detector.py inference|training [--config-file NAME] [--size 800 1216]
    [--weights FILE] [--precision bf16] [--compile | --graphs] [--checkpoint] [--peer COMMAND]
    [--device cuda] [--images N] [--threads 2] [--runs 5]

Each side is a process of its own, so that its memory is its own; they run in turn. The peer is
started as COMMAND WORK NAME HEIGHT WIDTH PRECISION THREADS DEVICE IMAGES. For each line that it
reads it does the work once and writes one line of JSON: {"seconds": s, "bytes": peak so far, of the
accelerator's tensors or on the CPU of the resident set}. Training is a forward and a backward pass
with 12 objects in each image. Without --weights both sides keep their initial weights. reference.py
is such a peer.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch
from harness import machine, spread
from sides import Side, scene, serve

import centernet2
from centernet2.builders.detector.loading import place
from centernet2.devices import autocast
from centernet2.models.detector import Detector
from centernet2.models.optimize import optimize_for_inference, optimize_for_training

WARM_UP = 2  # runs, in which memory is still fetched from the system
IMAGES = {"inference": 1, "training": 2}


def work_of(options: argparse.Namespace) -> Callable[[], object]:
    torch.manual_seed(0)
    device = torch.device(options.device)
    model = centernet2.build_model(options.config_file, weights=options.weights, device="cpu")
    model = place(model.train(options.work == "training"), device)
    if options.work == "training":
        optimize_for_training(
            model, gradient_checkpointing=options.checkpoint, compile=options.compile
        )
    else:
        optimize_for_inference(model, dtype=options.precision, compile=options.compile)
    if options.graphs:
        capture_graphs(model)
    images, targets = scene(*options.size, options.images)

    def train() -> None:
        begin_step(options)
        with autocast(device, options.precision):
            losses = model(images, targets)
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        model.zero_grad()

    @torch.inference_mode()
    def infer() -> None:
        begin_step(options)
        model(images)

    return train if options.work == "training" else infer


def capture_graphs(model: Detector) -> None:
    """Compile the parts of fixed shapes, each replayed as CUDA graphs."""
    parts = [model.backbone, model.neck]
    for part in parts if model.training else [*parts, model.proposal_generator.head]:
        part.compile(mode="reduce-overhead", dynamic=False)


def begin_step(options: argparse.Namespace) -> None:
    """Let the graphs of all parts be one step.

    Otherwise each part would overwrite the outputs of the one before it, which it reads.
    """
    if options.graphs:
        torch.compiler.cudagraph_mark_step_begin()


def compare(options: argparse.Namespace) -> None:
    sides = {
        "ours": Side([sys.executable, str(Path(__file__).resolve()), "--serve", *sys.argv[1:]])
    }
    if options.peer:
        name, size = options.config_file, map(str, options.size)
        arguments = [
            options.work,
            name,
            *size,
            options.peer_precision or options.precision,
            str(options.threads),
            options.device,
            str(options.images),
        ]
        sides["peer"] = Side([*shlex.split(options.peer), *arguments])
    for side in sides.values():
        for _ in range(WARM_UP):
            side.run()
    rounds = [{name: side.run() for name, side in sides.items()} for _ in range(options.runs)]
    ratio = {}
    if options.peer:
        ratio["time"] = spread(
            [each["ours"]["seconds"] / each["peer"]["seconds"] for each in rounds]
        )
        ratio["memory"] = spread([rounds[-1]["ours"]["bytes"] / rounds[-1]["peer"]["bytes"]])
    results = {
        "benchmark": options.work,
        "config": options.config_file,
        "size": options.size,
        "images": options.images,
        "device": options.device,
        "compiled": options.compile,
        "graphs": options.graphs,
        "gradient checkpointing": options.checkpoint,
        "precision": [options.precision, options.peer_precision or options.precision],
        "seconds": {name: spread([each[name]["seconds"] for each in rounds]) for name in sides},
        "megabytes": {name: round(rounds[-1][name]["bytes"] / 2**20) for name in sides},
        "images per second": {
            name: round(options.images / median(each[name]["seconds"] for each in rounds), 2)
            for name in sides
        },
        "ratio ours / peer": ratio,
        "warm_up": WARM_UP,
        "runs": options.runs,
        **machine(),
    }
    print(json.dumps(results), flush=True)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", choices=["inference", "training"])
    parser.add_argument("--config-file", default="CenterNet2_R50_1x")
    parser.add_argument("--size", nargs=2, type=int, default=[800, 1216], help="height and width")
    parser.add_argument("--weights", help="of our side")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true", help="our side")
    parser.add_argument("--graphs", action="store_true", help="our side: compiled, as CUDA graphs")
    parser.add_argument(
        "--checkpoint",
        action="store_true",
        help="our side, in training: SOLVER.GRADIENT_CHECKPOINTING",
    )
    parser.add_argument("--peer", help="command of another implementation")
    parser.add_argument("--peer-precision", choices=["fp32", "bf16"], help="default: that of ours")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, help="of a batch; default: 1, in training 2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.images = options.images or IMAGES[options.work]
    return options


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    if options.serve:
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does
        serve(work_of(options), torch.device(options.device))
    else:
        compare(options)


if __name__ == "__main__":
    main()
