"""What other load on the machine costs, by the number of threads and by how they wait.

python benchmarks/shared_machine.py [--rounds 5] [--choices unadapted passive ...]

For each choice a process takes training steps and predictions of CenterNet2_R18_small, in turn with
the others: on an idle machine, and while a stand-in for another program keeps a core busy. The
results are medians: the time on the idle machine relative to the first choice, and for each choice
the time on the busy machine relative to the first choice on the idle one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from harness import machine, spread

CHOICES = {
    "unadapted": {},  # the threads of PyTorch alone
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "100 turns": {"GOMP_SPINCOUNT": "100"},
    "1,000 turns": {"GOMP_SPINCOUNT": "1000"},
    "10,000 turns": {"GOMP_SPINCOUNT": "10000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
    "adapted": {"CENTERNET2_THREADS": "by-load"},
    "adapted, passive": {"CENTERNET2_THREADS": "by-load", "OMP_WAIT_POLICY": "passive"},
}
WORKS = ("training step", "prediction")
BUSY_PROGRAM = "while True: pass"
PROGRAM = """
import os, statistics, sys, time
import torch, centernet2
torch.manual_seed(0)
images = [torch.randint(0, 256, (3, 256, 320), dtype=torch.uint8) for _ in range(2)]
boxes = torch.tensor([[20.0, 20, 120, 160], [150, 60, 300, 240]])
targets = [{"boxes": boxes, "labels": torch.zeros(2, dtype=torch.int64)}] * 2
trained = centernet2.optimize_for_training(centernet2.build_model("CenterNet2_R18_small"))
optimizer = torch.optim.SGD(trained.parameters(), lr=1e-4)
detector = centernet2.optimize_for_inference(centernet2.build_model("CenterNet2_R18_small").eval())
from centernet2.threads import ThreadsByLoad

adapt = ThreadsByLoad().update

def train():
    optimizer.zero_grad()
    sum(trained(images, targets).values()).backward()
    optimizer.step()

@torch.inference_mode()
def predict():
    detector(images)

works = {"training step": train, "prediction": predict}
for line in sys.stdin:
    name, seconds = line.rsplit(maxsplit=1)
    times, end = [], time.perf_counter() + float(seconds)
    while len(times) < 3 or time.perf_counter() < end:
        started = time.perf_counter()
        works[name]()
        times.append(time.perf_counter() - started)
        adapt()
    print(statistics.median(times[len(times) // 2:]), flush=True)
"""


class Worker:
    """A process that takes steps when asked."""

    def __init__(self, environment: dict[str, str]) -> None:
        variables = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("OMP_", "GOMP_", "CENTERNET2_"))
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**variables, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, work: str, duration: float) -> float:
        """Return the median time of a work, of those in the second half of a duration."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(work, duration, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


@contextmanager
def busy_core(is_busy: bool) -> Iterator[None]:
    """Keep a core busy within a block."""
    if not is_busy:
        yield
        return
    program = subprocess.Popen([sys.executable, "-c", BUSY_PROGRAM])
    try:
        yield
    finally:
        program.kill()
        program.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--choices", nargs="+", choices=CHOICES, default=list(CHOICES))
    options = parser.parse_args()
    workers = {name: Worker(CHOICES[name]) for name in options.choices}
    for worker in workers.values():
        for work in WORKS:
            worker.seconds(work, 0)  # warm up
    times: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for _ in range(options.rounds):
        for state in ("idle", "busy"):
            with busy_core(state == "busy"):
                for name, worker in workers.items():
                    for work in WORKS:
                        times[work, state, name].append(worker.seconds(work, options.seconds))
    for worker in workers.values():
        worker.process.kill()
    first = options.choices[0]
    for work in WORKS:
        base = times[work, "idle", first]
        ratios = {
            f"{name}, {state}": spread(
                [a / b for a, b in zip(times[work, state, name], base, strict=True)]
            )
            for name in options.choices
            for state in ("idle", "busy")
        }
        result = {
            "benchmark": f"shared machine, {work}",
            "seconds": statistics.median(base),
            f"time / {first}, idle": ratios,
            "rounds": options.rounds,
            **machine(),
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
