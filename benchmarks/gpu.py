"""What an accelerator does with this package: speed, memory, waits and a short training run.

python benchmarks/gpu.py [--output runs/gpu] [--part speed ...] [--reference FOLDER]
    [--wheels FOLDER] [--minutes 8]

Needs this repository and a PyTorch that sees the accelerator; what else is missing is installed.
The parts take less than eight minutes together; what no longer fits into --minutes is left out.

speed     images/s and peak memory of inference and of a training step, in turn with the reference,
          in fp32 (convolutions in TF32, as is PyTorch's default) and bf16
waits     what makes the host wait for the device in a training step: counts and places
digits    AP of handwritten digits after two minutes of training
compiled  CenterNet2_R50_1x by torch.compile, and as CUDA graphs

--reference FOLDER: the reference implementation, fetched and built there if it is not; this time
does not count. Without it our figures stand alone. --wheels FOLDER: for a machine without a
network; benchmarks/wheels.py fills the folder elsewhere. --smoke: a small network and few steps, on
the CPU. gpu.json and gpu.md in --output hold the results so far.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import wheels

ROOT = Path(__file__).resolve().parent.parent
MODELS = {
    "CenterNet2_R50_1x": (800, 1216),
    "CenterNet2_DLA-BiFPN-P5_640_16x": (640, 640),
    "CenterNet-S4_DLA_8x": (640, 640),
}
SMALL = {"CenterNet2_R18_small": (96, 128)}
RUNS = 20  # of each side
DIGITS_MINUTES = 2
Row = dict[str, Any]


class Session:
    """Options, the time that is left, and the results so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        import torch
        from harness import machine

        from centernet2.kernels import device_name

        self.options = options
        self.models = SMALL if options.smoke else MODELS
        self.peer = peer_command(options.reference)
        self.end = time.monotonic() + 60 * options.minutes
        self.device = device_name(torch.device(options.device))
        self.machine = machine()
        self.results: dict[str, list[Row]] = {}

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.end - time.monotonic()

    def add(self, part: str, row: Row) -> None:
        """Record a result, and write all results so far."""
        print(json.dumps({"part": part, **row}), flush=True)
        self.results.setdefault(part, []).append(row)
        facts = {"benchmark": "gpu", "device": self.device, "reference": bool(self.peer)}
        text = json.dumps({**facts, **self.machine, "results": self.results}, indent=1)
        (self.options.output / "gpu.json").write_text(text + "\n")
        (self.options.output / "gpu.md").write_text(markdown(self))


def speed(session: Session) -> None:
    precisions, works = ("fp32", "bf16"), ("inference", "training")
    for model in session.models:
        for precision in precisions[:1] if session.options.smoke else precisions:
            for work in works[:1] if session.options.smoke else works:
                measure(session, "speed", model, work, precision)


def compiled(session: Session) -> None:
    if session.options.smoke:
        return  # a compiler and minutes are not at hand everywhere
    for mode in ("compile", "graphs"):
        for work in ("inference", "training"):
            measure(session, "compiled", "CenterNet2_R50_1x", work, "bf16", mode)


def measure(
    session: Session, part: str, model: str, work: str, precision: str, mode: str = "eager"
) -> None:
    """Measure one model in turn with the reference; alone, if that fails."""
    options = session.options
    size = session.models[model]
    command = [
        str(ROOT / "benchmarks" / "detector.py"), work, "--config-file", model,
        "--size", *map(str, size), "--precision", precision, "--device", options.device,
        "--runs", "1" if options.smoke else str(RUNS), "--threads", str(options.threads),
    ]  # fmt: skip
    command += [] if mode == "eager" else [f"--{mode}"]
    row: Row = {"model": model, "size": size, "work": work, "precision": precision, "mode": mode}
    answer = ask(session, [*command, "--peer", session.peer] if session.peer else command)
    if session.peer and "failed" in answer:
        row["reference failed"] = answer["failed"]
        answer = ask(session, command)
    kept = ("failed", "images", "images per second", "seconds", "megabytes", "ratio ours / peer")
    session.add(part, row | {key: answer[key] for key in kept if key in answer})


def ask(session: Session, command: list[str]) -> Row:
    """Run a benchmark in the time that is left: what it printed, or why it failed."""
    printed, failure = run(session, command)
    return {"failed": failure} if failure else json.loads(printed.splitlines()[-1])


def run(session: Session, command: list[str]) -> tuple[str, str]:
    """Run Python in the time that is left; return what it printed, and why it failed."""
    late = "no time was left"
    if session.left() < 0:
        return "", late
    with tempfile.TemporaryFile("w+") as messages:  # a pipe would wait for what it has started
        try:
            done = subprocess.run(
                [sys.executable, *command],
                stdout=subprocess.PIPE,
                stderr=messages,
                text=True,
                timeout=session.left(),
            )
        except subprocess.TimeoutExpired:
            return "", late
        messages.seek(0)
        last = (messages.read().strip().splitlines() or ["no message"])[-1]
    return done.stdout, last if done.returncode else ""


def waits(session: Session) -> None:
    """Count what makes the host wait for the device in a step of the training loop."""
    model, size = next(iter(session.models.items()))
    command = [str(ROOT / "benchmarks" / "waits.py"), "--config-file", model]
    command += ["--size", *map(str, size), "--device", session.options.device]
    answer = ask(session, command)
    if "failed" in answer:
        session.add("waits", answer)
        return
    for kind in ("operations", "places"):
        for name, count in answer[kind].items():
            session.add("waits", {"what waits": name, "times in a step": count})


def digits(session: Session) -> None:
    """Train on composed scenes of handwritten digits, and evaluate."""
    options = session.options
    if not wheels.is_installed("scikit-learn"):
        session.add("digits", {"failed": "scikit-learn, which has the digits, is not installed"})
        return
    from demo.__main__ import OVERRIDES
    from demo.digits import compose_split, write_split

    data, output = options.output / "digits", options.output / "digits_run"
    if not data.is_dir():
        for split in ("train", "val"):
            write_split(data, split, islice(compose_split(split), 4 if options.smoke else None))
    steps = 2 if options.smoke else 20_000  # as many as the time allows
    command = [
        "-m", "centernet2", "train", "--config-file", "CenterNet2_R18_small",
        "--data", str(data), "--output-dir", str(output), "--device", options.device, "--seed", "1",
        "--minutes", str(DIGITS_MINUTES), *OVERRIDES, "SOLVER.MAX_ITER", str(steps),
    ]  # fmt: skip
    _, failure = run(session, command)
    if failure:
        session.add("digits", {"failed": failure})
        return
    metrics = json.loads((output / "eval" / "metrics.json").read_text())
    lines = (output / "metrics.jsonl").read_text().splitlines()
    last = max(json.loads(line).get("iteration", 0) for line in lines)
    ap = {name: metrics[f"bbox/{name}"] for name in ("AP", "AP50")}
    session.add("digits", {"minutes": DIGITS_MINUTES, "steps": last, **ap})


PARTS = {"speed": speed, "waits": waits, "digits": digits, "compiled": compiled}


def markdown(session: Session) -> str:
    """Write all results as tables."""
    facts = session.machine["versions"]
    peer = "in turn with the reference" if session.peer else "the reference is not built: left out"
    parts = [
        f"{session.device}; {session.machine['processor']}, {session.machine['cores']} cores; "
        f"torch {facts['torch']}; {peer}\n"
    ]
    timed = [*session.results.get("speed", ()), *session.results.get("compiled", ())]
    if timed:
        columns = "model | work | precision | mode | images/s | / reference | MB | / reference"
        parts.append(table(columns, map(cells, timed)))
    for part in ("waits", "digits"):
        if rows := session.results.get(part):
            names = list(dict.fromkeys(name for row in rows for name in row))
            lines = ([str(row.get(name, "")) for name in names] for row in rows)
            parts.append(table(" | ".join(names), lines))
    return "\n".join(parts)


def cells(row: Row) -> list[str]:
    """Return the columns of a measurement of speed."""
    head = [f"{row['model']}, {row['size'][0]} x {row['size'][1]}"]
    head += [row["work"], row["precision"], row["mode"]]
    if "failed" in row:
        return [*head, row["failed"], "", "", ""]
    ratio, speed, memory = row["ratio ours / peer"], row["images per second"], row["megabytes"]
    if not ratio:
        return [*head, str(speed["ours"]), row.get("reference failed", ""), str(memory["ours"]), ""]
    faster = f"{1 / ratio['time']['median']:.2f} ({speed['peer']})"
    smaller = f"{ratio['memory']['median']:.2f} ({memory['peer']})"
    return [*head, str(speed["ours"]), faster, str(memory["ours"]), smaller]


def table(columns: str, rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {columns} |", "|---" * (columns.count("|") + 1) + "|"]
    for row in rows:
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |")
    return "\n".join([*lines, ""])


def peer_command(folder: Path | None) -> str:
    """Build the reference if it is not there; return its command, or nothing without it."""
    import reference

    if folder is None:
        return ""
    script = [sys.executable, str(ROOT / "benchmarks" / "reference.py")]
    for step in () if reference.is_built(folder) else ("fetch", "build"):
        if subprocess.run([*script, step, str(folder)]).returncode:
            print(f"the reference cannot be built in {folder}, so it is left out", file=sys.stderr)
            return ""
    return shlex.join([*script, "serve", str(folder)])


def set_up(options: argparse.Namespace) -> None:
    """Install what is missing, and let this process and its children find it."""
    if not wheels.is_installed("torch"):
        sys.exit("PyTorch is missing: install the build for your accelerator (pytorch.org)")
    packages = options.output / "packages"
    if options.wheels is not None:
        wheels.install(options.wheels, packages)
    elif not wheels.is_installed("centernet2"):
        command = [sys.executable, "-m", "pip", "install", f"{ROOT}[demo]"]
        subprocess.run(command, check=True)
    paths = [str(path) for path in (ROOT / "src", ROOT, packages)]
    sys.path[1:1] = paths
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--output", type=lambda name: Path(name).resolve(), default="runs/gpu")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--reference", type=lambda name: Path(name).resolve(), metavar="FOLDER")
    parser.add_argument("--wheels", type=lambda name: Path(name).resolve(), metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    if options.smoke:
        options.device, options.threads = "cpu", 1
    return options


def main() -> None:
    options = parse()
    options.output.mkdir(parents=True, exist_ok=True)
    set_up(options)
    session = Session(options)
    for part in options.part:
        PARTS[part](session)
    print((options.output / "gpu.md").read_text())


if __name__ == "__main__":
    main()
