"""Memory and speed of a long training run: neither may change.

PYTHONPATH=. python benchmarks/long_run.py [--steps 5000] [--plot FILE.svg]

`centernet2 train` trains a tiny detector on the handwritten digits of `make demo`. Every second
the memory is read that a process does not share, of the main process and of its loader workers.
The results are ratios of medians: memory in the last tenth of the run to that in the second and in
the fifth, and time of a step in the last tenth to that in the first and in the second. Memory that
another running program shares, such as the pages of PyTorch's libraries, is left out: it dips.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from charts import draw_curves
from harness import machine

from demo.digits import compose_split, write_split

OPTIONS = [
    "INPUT.MIN_SIZE_TRAIN", "(64,)", "SOLVER.IMS_PER_BATCH", "2", "MODEL.FPN.OUT_CHANNELS", "16",
    "MODEL.RESNETS.RES2_OUT_CHANNELS", "16", "MODEL.ROI_BOX_HEAD.FC_DIM", "32",
    "MODEL.CENTERNET.POST_NMS_TOPK_TRAIN", "50", "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "16",
    "TEST.EVAL_PERIOD", "-1", "SOLVER.CHECKPOINT_PERIOD", "1000",
]  # fmt: skip
MEBIBYTE = 2**20
PROCESSES = ("main", "workers")


def train(folder: Path, steps: int) -> tuple[list[tuple[float, float, float]], list[float]]:
    """Train; return (seconds, MiB of the main process, of the workers), and times of steps."""
    for split in ("train", "val"):
        write_split(folder / "data", split, compose_split(split))
    words = ["train", "--config-file", "CenterNet2_R18_small", "--data", str(folder / "data")]
    words += ["--output-dir", str(folder / "run"), *OPTIONS, "SOLVER.MAX_ITER", str(steps)]
    started = time.monotonic()
    program = psutil.Popen([sys.executable, "-m", "centernet2", *words])
    samples = []
    while program.poll() is None:
        time.sleep(1)
        try:
            workers = sum(map(own_memory, program.children()))
            own = own_memory(program)
        except psutil.Error:  # a process has just ended
            continue
        if workers:  # the loop has begun
            seconds = time.monotonic() - started
            samples.append((seconds, own / MEBIBYTE, workers / MEBIBYTE))
    if program.returncode:
        raise subprocess.CalledProcessError(program.returncode, words)
    lines = (folder / "run" / "metrics.jsonl").read_text("utf-8").splitlines()
    return samples, [row["time"] for row in map(json.loads, lines) if "time" in row]


def own_memory(process: psutil.Process) -> int:
    """Return the bytes that a process alone has, in memory or swapped out."""
    info = process.memory_full_info()
    return int(info.uss + getattr(info, "swap", 0))


def ratio(values: list[float], tenth: int) -> float:
    """Divide the median of the last tenth by that of an earlier one, counted from 0."""
    length = max(1, len(values) // 10)
    before = values[tenth * length : (tenth + 1) * length]
    return round(statistics.median(values[-length:]) / statistics.median(before), 4)


def draw(path: Path, samples: list[tuple[float, float, float]]) -> None:
    """Write a chart of memory against time."""
    minutes = [row[0] / 60 for row in samples]
    curves = {
        name: list(zip(minutes, [row[i] for row in samples], strict=True))
        for i, name in enumerate(PROCESSES, start=1)
    }
    ticks = range(1, round(minutes[-1]) + 1)
    draw_curves(path, "MiB", "minutes", curves, ticks=ticks, dots=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--plot", type=Path, help="SVG file of memory in MiB against time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples, times = train(Path(folder), options.steps)
    if options.plot is not None:
        draw(options.plot, samples)
    memory = {name: [row[i] for row in samples] for i, name in enumerate(PROCESSES, start=1)}
    result = {
        "benchmark": "long run",
        "steps": options.steps,
        "seconds per step": statistics.median(times),
        "MiB at the end": {name: round(values[-2]) for name, values in memory.items()},
        **{
            f"memory, last tenth / {ordinal}": {
                name: ratio(values, tenth) for name, values in memory.items()
            }
            for ordinal, tenth in {"second": 1, "fifth": 4}.items()
        },
        "time of a step, last tenth / first": ratio(times, 0),
        "time of a step, last tenth / second": ratio(times, 1),
        **machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
