"""Seconds from the shell to the first written result, and where they go.

python benchmarks/first_picture.py --weights runs/my_model photo.jpg [--runs 5] [--processor-time]

Each run is a fresh process of `centernet2 predict`. In turn with it, another one takes the same
steps and measures each: with weights of PyTorch the import of torch, our imports, reading the
weights, the first forward pass and writing; an exported file has no torch. The target is the ratio
of the command to torch + weights + forward. The processor time, of a thread with OMP_NUM_THREADS=1,
depends less on what else runs on the machine.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import machine, spread

STEPS = """
import json, sys, time
image, weights, folder, clock_name = sys.argv[1:]
now = getattr(time, clock_name)
clock = [now()]
if not weights.endswith((".onnx", ".xml")):
    import torch
clock.append(now())
from centernet2.builders.detector.predictor_loading import load_predictor
from centernet2.builders.prediction.prediction_run import run_prediction
if not weights.endswith((".onnx", ".xml")):
    import centernet2.builders.detector.loading, centernet2.predict.pytorch_detector
clock.append(now())
predictor = load_predictor(weights)
clock.append(now())
prediction = predictor(image)
clock.append(now())
prediction.save(folder + "/a.png")
prediction.save(folder + "/a.json")
clock.append(now())
names = ("torch", "imports", "weights", "forward", "writing")
print(json.dumps(dict(zip(names, (b - a for a, b in zip(clock, clock[1:]))))))
"""


def time_of_programs() -> float:
    """Return the processor time of the programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


CLOCKS = {"perf_counter": time.perf_counter, "process_time": time_of_programs}


def steps(image: str, weights: str, folder: str, clock: str) -> dict[str, float]:
    """Return the seconds of each step in a fresh process; the rest is the interpreter's."""
    command = [sys.executable, "-c", STEPS, image, weights, folder, clock]
    started = CLOCKS[clock]()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    total = CLOCKS[clock]() - started
    seconds: dict[str, float] = json.loads(done.stdout)
    return {"interpreter": total - sum(seconds.values()), **seconds}


def command_seconds(image: str, weights: str, folder: str, clock: str) -> float:
    """Return the seconds of the command."""
    command = [sys.executable, "-m", "centernet2", "predict", image, "--weights", weights]
    started = CLOCKS[clock]()
    subprocess.run([*command, "--output", folder], check=True, capture_output=True)
    return CLOCKS[clock]() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--processor-time", action="store_const", const="process_time", default="perf_counter",
        dest="clock", help="measure it instead of the time that passes",
    )  # fmt: skip
    options = parser.parse_args()
    weights = Path(options.weights)
    if weights.is_dir():
        weights = weights / "model_final.pth"
    with tempfile.TemporaryDirectory() as folder:
        words = options.image, str(weights), folder, options.clock
        command_seconds(*words)  # the disk is warm afterwards
        pairs = [(command_seconds(*words), steps(*words)) for _ in range(options.runs)]
    needed = [parts["torch"] + parts["weights"] + parts["forward"] for _, parts in pairs]
    ratios = [total / least for (total, _), least in zip(pairs, needed, strict=True)]
    result = {
        "benchmark": "first picture",
        "command": spread([total for total, _ in pairs]),
        "steps": {name: spread([parts[name] for _, parts in pairs]) for name in pairs[0][1]},
        "command / (torch + weights + forward)": spread(ratios),
        "clock": options.clock,
        "runs": options.runs,
        **machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
