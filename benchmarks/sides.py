"""The two sides of detector.py: what both of them do, and how a process does it on request.

A side imports this module and what it measures, no more: peak memory is that of its process.
"""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor

from centernet2.devices import peak_memory, synchronize
from centernet2.structures import Target

OBJECTS = 12  # of an image


def scene(height: int, width: int, count: int) -> tuple[list[Tensor], list[Target]]:
    random = torch.Generator().manual_seed(0)
    images, targets = [], []
    for _ in range(count):
        images.append(
            torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=random)
        )
        low = torch.rand(OBJECTS, 2, generator=random) * torch.tensor([width * 0.7, height * 0.7])
        high = (low + torch.rand(OBJECTS, 2, generator=random) * 150 + 10).minimum(
            torch.tensor([width, height])
        )
        labels = torch.randint(0, 80, (OBJECTS,), generator=random)
        targets.append(Target(boxes=torch.cat([low, high], dim=1), labels=labels))
    return images, targets


def serve(work: Callable[[], object], device: torch.device) -> None:
    for _ in sys.stdin:
        started, used = time.perf_counter(), time.process_time()
        work()
        synchronize(device)
        figures = {
            "seconds": time.perf_counter() - started,
            "processor_seconds": time.process_time() - used,  # of all threads
            "bytes": peak_memory(device),
        }
        print(json.dumps(figures), flush=True)


class Side:
    """A process that does the work once for each line that it reads."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self) -> dict[str, float]:
        assert self.process.stdin is not None and self.process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended, and said why
            self.process.stdin.write("run\n")
            self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("{"):  # compilers and the like may write lines of their own
                return dict(json.loads(line))
        raise SystemExit(f"{shlex.join(map(str, self.process.args))} ended without an answer")
