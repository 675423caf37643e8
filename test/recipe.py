"""Runs one case of the recipe and ends with its figures, which come from the files that the run itself has written.

    python test/recipe.py full|performance|eval|finetune PROCESSES BATCH --data_path=DIR [options of `centernet2 train`]

It writes, below test/output/<device>/: train_<device>.log, all that the run has printed, and
CenterNet2_bs<batch>_<processes>p_<case>.log, the case file. <device> is ASCEND_DEVICE_ID, or 0.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

NETWORK = "CenterNet2"
ROOT = Path(__file__).resolve().parents[1]
SUFFIX = {"full": "acc", "finetune": "acc", "performance": "perf", "eval": "eval"}
PERFORMANCE_ITERATIONS = 801
FULL_ITERATIONS = {8: 70_000}  # by number of processes; others follow the configuration


def main(arguments: Sequence[str]) -> int:
    case, processes, batch, *rest = arguments
    options, pairs = split_arguments(rest)
    data_path = options.pop("--data_path", "")
    if not data_path:
        print(
            "--data_path is missing: give the folder above coco2017/ or coco/, as --data_path=/data/",
            file=sys.stderr,
        )
        return 2
    settings = default_settings(case, int(processes), int(batch)) | pairs
    command = {"--config-file": "CenterNet2_R50_1x", "--num-gpus": processes} | options
    name = Path(command["--config-file"]).stem
    result = ROOT / "result" / NETWORK / (f"{name}_finetune" if case == "finetune" else name)
    command |= {"--data-path": data_path, "--output-dir": command.get("--output-dir", str(result))}
    if case == "eval":
        command["--eval-only"] = ""
    if case in ("eval", "finetune"):
        settings.setdefault(
            "MODEL.WEIGHTS", str(ROOT / "result" / NETWORK / name / "model_final.pth")
        )

    device = os.environ.get("ASCEND_DEVICE_ID", "0")
    logs = ROOT / "test" / "output" / device
    logs.mkdir(parents=True, exist_ok=True)
    started = time.time()
    code = run(command, settings, logs / f"train_{device}.log")
    if code == 0:
        suffix = "eval" if "--eval-only" in command else SUFFIX[case]
        figures = collect(Path(command["--output-dir"]), suffix, started)
        cards = int(command["--num-gpus"]) * int(command.get("--num-machines", 1))
        report(logs, suffix, cards, int(settings["SOLVER.IMS_PER_BATCH"]), figures)
    return code


def split_arguments(arguments: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Options (--name value, --name=value, or a flag) and KEY VALUE pairs."""
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
            flag = word in ("--eval-only", "--resume")
            options[word] = "" if flag or not rest else rest.pop(0)
    return options, dict(zip(words[::2], [*words[1::2], *[""] * (len(words) % 2)], strict=True))


def default_settings(case: str, processes: int, batch: int) -> dict[str, str]:
    """What the recipe says where the command line says nothing."""
    settings = {"SOLVER.IMS_PER_BATCH": str(batch), "SOLVER.AMP.ENABLED": "True"}
    if case == "performance":
        settings |= {"SOLVER.MAX_ITER": str(PERFORMANCE_ITERATIONS), "TEST.EVAL_PERIOD": "-1"}
    elif case == "full" and processes in FULL_ITERATIONS:
        settings["SOLVER.MAX_ITER"] = str(FULL_ITERATIONS[processes])
    return settings


def run(options: dict[str, str], settings: dict[str, str], log: Path) -> int:
    """Runs `centernet2 train`, shows and keeps what it prints, and returns its exit code."""
    command = [sys.executable, "-m", "centernet2", "train"]
    command += [
        word for name, value in options.items() for word in ([name, value] if value else [name])
    ]
    command += [word for pair in settings.items() for word in pair]
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            file.write(line)
        return process.wait()


def collect(output: Path, suffix: str, started: float) -> dict[str, float | None]:
    """The figures of a run in this folder."""
    figures: dict[str, float | None] = {
        "seconds": time.time() - started,
        "fps": None,
        "loss": None,
        "accuracy": None,
    }
    evaluation = output if suffix == "eval" else output / "eval"
    if suffix == "eval":
        figures["fps"] = json.loads((evaluation / "speed.json").read_text())["images_per_second"]
    else:
        lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        steps = [line for line in lines if "images_per_second" in line]
        # the first figure holds the start of the data loader and the choice of kernels
        figures["fps"] = statistics.median(line["images_per_second"] for line in steps[1:] or steps)
        figures["loss"] = steps[-1]["total_loss"]
    if suffix != "perf":
        figures["accuracy"] = json.loads((evaluation / "metrics.json").read_text())["bbox/AP"]
    return figures


def report(
    folder: Path, suffix: str, cards: int, batch: int, figures: dict[str, float | None]
) -> None:
    """Writes the case file and prints the last lines."""
    fps, accuracy, seconds = figures["fps"], figures["accuracy"], figures["seconds"]
    case = f"{NETWORK}_bs{batch}_{cards}p_{suffix}"
    outcome = ("ActualLoss", figures["loss"]) if suffix == "perf" else ("TrainAccuracy", accuracy)
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
