"""Runs one case of the recipe and prints its metrics, read from the files that the run has written.

    python test/recipe.py CASE PROCESSES BATCH --data_path=DIR [options of `centernet2 train`]

The cases are full, performance, eval and finetune.

It writes two files in test/output/<device>/, where <device> is ASCEND_DEVICE_ID, or 0:
train_<device>.log, the output of the run, and CenterNet2_bs<batch>_<processes>p_<case>.log.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

NETWORK = "CenterNet2"
ROOT = Path(__file__).resolve().parents[1]
SUFFIX = {"full": "acc", "finetune": "acc", "performance": "perf", "eval": "eval"}
PERFORMANCE_ITERATIONS = 801
FLAGS = (  # options of `centernet2 train` without a value
    "--auto-scale-lr", "--dry-run", "--eval-only", "--keep-classes", "--partial-labels", "--resume",
)  # fmt: skip
FULL_ITERATIONS = {8: 70_000}  # by number of processes; others: that of the config


def main(arguments: Sequence[str]) -> int:
    case, processes, batch, *rest = arguments
    options, pairs = split_arguments(rest)
    data_path = options.pop("--data_path", "")
    if not data_path:
        print(
            "--data_path is missing: give the folder that contains coco2017/ or coco/, "
            "such as --data_path=/data/",
            file=sys.stderr,
        )
        return 2
    overrides = default_overrides(case, int(processes), int(batch)) | pairs
    command = {"--config-file": "CenterNet2_R50_1x", "--num-gpus": processes} | options
    name = Path(command["--config-file"]).stem
    result = ROOT / "result" / NETWORK / (f"{name}_finetune" if case == "finetune" else name)
    command |= {"--data-path": data_path, "--output-dir": command.get("--output-dir", str(result))}
    if case == "eval":
        command["--eval-only"] = ""
    if case in ("eval", "finetune"):
        overrides.setdefault(
            "MODEL.WEIGHTS", str(ROOT / "result" / NETWORK / name / "model_final.pth")
        )

    device = os.environ.get("ASCEND_DEVICE_ID", "0")
    logs = ROOT / "test" / "output" / device
    logs.mkdir(parents=True, exist_ok=True)
    started = time.time()
    code = run(command, overrides, logs / f"train_{device}.log")
    if code == 0 and "--dry-run" not in command:
        suffix = "eval" if "--eval-only" in command else SUFFIX[case]
        metrics = collect_metrics(Path(command["--output-dir"]), suffix, started)
        cards = int(command["--num-gpus"]) * int(command.get("--num-machines", 1))
        report(logs, suffix, cards, int(overrides["SOLVER.IMS_PER_BATCH"]), metrics)
    return code


def split_arguments(arguments: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Split options (--name value, --name=value, or a flag) from KEY VALUE pairs."""
    options, words = {}, []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            words.append(word)
            if rest:
                words.append(rest.pop(0))
        elif "=" in word:
            name, _, value = word.partition("=")
            options[name] = value
        else:
            options[word] = "" if word in FLAGS or not rest else rest.pop(0)
    return options, dict(zip(words[::2], [*words[1::2], *[""] * (len(words) % 2)], strict=True))


def default_overrides(case: str, processes: int, batch: int) -> dict[str, str]:
    """The overrides of the recipe, below those of the command line."""
    overrides = {"SOLVER.IMS_PER_BATCH": str(batch), "SOLVER.AMP.ENABLED": "True"}
    if case == "performance":
        overrides |= {"SOLVER.MAX_ITER": str(PERFORMANCE_ITERATIONS), "TEST.EVAL_PERIOD": "-1"}
    elif case == "full" and processes in FULL_ITERATIONS:
        overrides["SOLVER.MAX_ITER"] = str(FULL_ITERATIONS[processes])
    return overrides


def run(options: dict[str, str], overrides: dict[str, str], log: Path) -> int:
    """Run `centernet2 train`, show and keep its output, and return its exit code.

    It gets the signals to this process, saves a checkpoint and ends.
    """
    command = [sys.executable, "-m", "centernet2", "train"]
    command += [
        word for name, value in options.items() for word in ([name, value] if value else [name])
    ]
    command += [word for pair in overrides.items() for word in pair]
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

        def pass_on(number: int, frame: FrameType | None) -> None:
            process.send_signal(number)

        signal.signal(signal.SIGTERM, pass_on)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            file.write(line)
        return process.wait()


def collect_metrics(output: Path, suffix: str, started: float) -> dict[str, float | None]:
    """Read the metrics of the run in a folder."""
    metrics: dict[str, float | None] = {
        "seconds": time.time() - started,
        "fps": None,
        "loss": None,
        "accuracy": None,
    }
    evaluation = output if suffix == "eval" else output / "eval"
    if suffix == "eval":
        metrics["fps"] = json.loads((evaluation / "speed.json").read_text())["images_per_second"]
    else:
        lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        steps = [line for line in lines if "images_per_second" in line]
        # the first value includes the start of the data loader and the choice of kernels
        metrics["fps"] = statistics.median(line["images_per_second"] for line in steps[1:] or steps)
        metrics["loss"] = steps[-1]["total_loss"]
    if suffix != "perf":
        metrics["accuracy"] = json.loads((evaluation / "metrics.json").read_text())["bbox/AP"]
    return metrics


def report(
    folder: Path, suffix: str, cards: int, batch: int, metrics: dict[str, float | None]
) -> None:
    """Write the log of the case and print the last lines."""
    fps, accuracy, seconds = metrics["fps"], metrics["accuracy"], metrics["seconds"]
    case = f"{NETWORK}_bs{batch}_{cards}p_{suffix}"
    outcome = ("ActualLoss", metrics["loss"]) if suffix == "perf" else ("TrainAccuracy", accuracy)
    rows = {
        "Network": NETWORK,
        "RankSize": cards,
        "BatchSize": batch,
        "DeviceType": os.uname().machine,
        "CaseName": case,
        "ActualFPS": number(fps),
        "TrainingTime": number(batch * 1000 / fps if fps else None),  # milliseconds of a step
        outcome[0]: number(outcome[1]),
        "E2ETrainingTime": number(seconds),
    }
    text = "".join(f"{name} = {value}\n" for name, value in rows.items())
    (folder / f"{case}.log").write_text(text, encoding="utf-8")
    print(f"Final Performance images/sec : {number(fps)}")
    if suffix != "perf":
        print(f"Final Train Accuracy : {number(accuracy)}")
    print(f"E2E Training Duration sec : {number(seconds)}")


def number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
