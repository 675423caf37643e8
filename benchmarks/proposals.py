"""Decoding and NMS of the proposals of a training step.

python benchmarks/proposals.py [--peer COMMAND] [--noise 0.5] [--threads 2] [--runs 5]

Two images of 640 x 853: 4,000 candidates per level, NMS at IoU 0.9, 2,000 proposals. The noise is
how much the boxes of neighboring locations differ: 0.5 as at the start of a training run, when few
pairs of boxes reach an IoU of 0.9; 0.05 as at its end, when fewer than 2,000 proposals of an image
are left.

The peer is started as COMMAND FOLDER. FOLDER/maps.npz holds, per level l of strides 8 ... 128, the
objectness before the sigmoid `object{l}` [N, 1, h, w] and the distances `ltrb{l}` [N, 4, h, w] in
units of the stride. For each line that it reads it does the work once and writes one line of JSON:
{"seconds": s, "proposals": [of each image]}.
"""

import argparse
import json
import shlex
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from harness import machine, spread

from centernet2.builders.detector.network import build_detector
from centernet2.config import load_config
from centernet2.models.centernet import CenterNet, HeadOutput

STRIDES = (8, 16, 32, 64, 128)
HEIGHT, WIDTH, OBJECTS = 640, 864, 30


def head_output(generator: torch.Generator, noise: float) -> HeadOutput:
    """Make the output of a head: peaks of objects of every size, boxes with noise."""
    objects, ltrb = [], []
    for stride in STRIDES:
        h, w = -(-HEIGHT // stride), -(-WIDTH // stride)
        y, x = torch.meshgrid(
            torch.arange(h) * stride + stride // 2,
            torch.arange(w) * stride + stride // 2,
            indexing="ij",
        )
        center = torch.rand(2, OBJECTS, 2, generator=generator) * torch.tensor([WIDTH, HEIGHT])
        half = stride * 8 * torch.exp(torch.rand(2, OBJECTS, 2, generator=generator) - 1)
        offset = torch.stack([x, y], -1) - center[:, :, None, None]  # [N, G, h, w, 2]
        near = (offset / half[:, :, None, None]).square().sum(-1)  # [N, G, h, w]
        nearest, owner = near.min(dim=1)  # [N, h, w]
        objects.append(
            (2 - 4 * nearest.clamp(max=2) + 0.5 * torch.randn(2, h, w, generator=generator))[
                :, None
            ]
        )
        image = torch.arange(2)[:, None, None]
        d = offset.permute(0, 2, 3, 1, 4).gather(
            3, owner[..., None, None].expand(-1, -1, -1, 1, 2)
        )[..., 0, :]
        size = half[image, owner] * torch.exp(noise * torch.randn(2, h, w, 2, generator=generator))
        ltrb.append(
            (torch.cat([size + d, size - d], -1) / stride)
            .clamp(min=0)
            .permute(0, 3, 1, 2)
            .contiguous()
        )
    return HeadOutput(None, objects, ltrb)


def ours(stage: CenterNet, output: HeadOutput) -> tuple[float, list[int]]:
    started = time.perf_counter()
    proposals = stage.decoder(output, padded=True)
    return time.perf_counter() - started, [int(p.valid.sum()) for p in proposals]


def ask_peer(process: "subprocess.Popen[str]") -> tuple[float, list[int]]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("run\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    return answer["seconds"], answer["proposals"]


def write(output: HeadOutput, folder: str) -> None:
    arrays = {f"object{i}": x.numpy() for i, x in enumerate(output.object_logits or [])}
    np.savez(
        Path(folder) / "maps.npz",
        **arrays,
        **{f"ltrb{i}": x.numpy() for i, x in enumerate(output.ltrb)},
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", help="command of another implementation")
    parser.add_argument("--noise", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    output = head_output(torch.Generator().manual_seed(0), options.noise)
    with torch.device("meta"):
        stage = build_detector(load_config("CenterNet2_R50_1x")).proposal_generator.train()
    works = {"ours": partial(ours, stage, output)}
    with tempfile.TemporaryDirectory() as folder:
        write(output, folder)
        process = None
        if options.peer:
            command = [*shlex.split(options.peer), folder]
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            works["peer"] = partial(ask_peer, process)
        counts = {name: work()[1] for name, work in works.items()}  # the warm-up
        seconds: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(options.runs):
            for name, work in works.items():
                seconds[name].append(work()[0])
        if process is not None:
            process.communicate()
    ratios = [a / b for a, b in zip(seconds["ours"], seconds.get("peer", []), strict=False)]
    results = {
        "benchmark": "proposals_of_a_training_step",
        "noise": options.noise,
        "proposals": counts,
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "ratio": {"ours / peer": spread(ratios)} if ratios else {},
        "warm_up": 1,
        "runs": options.runs,
        **machine(),
    }
    print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
