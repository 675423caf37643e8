"""AP of the old and the new classes after classes were added to a detector, without old images.

PYTHONPATH=. python benchmarks/keep_classes.py --output FOLDER [--bccd FOLDER] [--cases digits ...]
    [--methods old joint labelled background federated kept partial plain] [--seeds 0]
    [--iterations 600] [--list]

Cases: the digits 0 to 6, then 7 to 9; the blood cells of BCCD (--bccd), with each class in turn as
the new one. Half of the training images have labels of the old classes alone, the others of the new
ones alone; the validation images have all labels. Methods:

old         trains on the old images
joint       trains the old detector on all images with all labels, in twice the iterations
labelled    trains the old detector on the new images with all labels
background  trains the old detector on the new images, as if nothing else were in them
federated   the same with --keep-classes, but without objects from the old detector
kept        the same with --keep-classes
partial     trains on all images with the labels that they have (--partial-labels), in twice the
            iterations, from no detector
plain       the same without --partial-labels, as if nothing else were in the images

The methods from `joint` to `kept` start from the same weights, and see new images equally often;
images without an object that is labelled are left out. `labelled` shows what the labels are worth
that `kept` lacks. `joint` has the old images besides: twice the images, and twice the objects of
the new classes.

Runs follow one another. FOLDER/results.jsonl gets a line per run: a run that is in it is not
repeated, and an interrupted one is resumed. FOLDER/results.md is the table.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from harness import machine

import centernet2
from centernet2.data import WRITERS, DetectionDataset, without_classes
from centernet2.data.dataset import concatenate
from centernet2.data.readers import load_dataset
from demo.digits import compose_split, write_split

METHODS = ("old", "joint", "labelled", "background", "federated", "kept", "partial", "plain")
FROM_OLD = ("joint", "labelled", "background", "federated", "kept")
PARTS = {  # folders of `write_parts` that a method trains on; others train on the whole data
    "old": ("old",),
    "labelled": ("labelled",),
    "background": ("background",),
    "federated": ("new",),
    "kept": ("new",),
    "partial": ("old", "new"),
    "plain": ("plain",),
}
MODES = {
    "federated": ["--keep-classes"],
    "kept": ["--keep-classes"],
    "partial": ["--partial-labels"],
}
TWICE = ("joint", "partial", "plain")  # methods with twice the iterations
BLOOD_CELLS = ("RBC", "WBC", "Platelets")
SPLITS = ("train", "val")
CONFIG = "CenterNet2_Lite_N"
DONE = "written"  # file in a folder of data
FASTER = ["SOLVER.KEEP_FREED_MEMORY", "True", "SOLVER.CHANNELS_LAST", "True"]  # on a CPU
NO_DETECTIONS = ["DATASETS.KEPT_SCORES", "(1.0, 1.0)"]
DIGITS = [
    "INPUT.RANDOM_FLIP",
    "none",
    "INPUT.MIN_SIZE_TRAIN",
    "(160,)",
    "INPUT.MIN_SIZE_TEST",
    "160",
]
CELLS = [
    "INPUT.MIN_SIZE_TRAIN", "(240, 256, 272)", "INPUT.MIN_SIZE_TEST", "256",
    "SOLVER.IMS_PER_BATCH", "4", "SOLVER.BASE_LR", "0.0007",
]  # fmt: skip


class Case(NamedTuple):
    """Classes that are added to others."""

    name: str
    data: str
    new: tuple[str, ...]
    options: Sequence[str]  # of all runs


class Task(NamedTuple):
    """One run."""

    case: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.case}_{self.method}_seed{self.seed}"


CASES = {
    each.name: each
    for each in (
        Case("digits", "digits", ("7", "8", "9"), DIGITS),
        *(Case(f"bccd-{name}", "bccd", (name,), CELLS) for name in BLOOD_CELLS),
    )
}


def whole_data(case: Case, options: argparse.Namespace) -> Path:
    """Return the folder of the data with all labels; compose the digits once."""
    if case.data == "bccd":
        return Path(options.bccd)
    folder = Path(options.output) / "data" / "digits"
    for split in SPLITS:
        if not (folder / "annotations" / f"instances_{split}.json").is_file():
            write_split(folder, split, compose_split(split))
    return folder


def write_parts(task: Task, data: Path, folder: Path) -> None:
    """Write both halves of the images, each with its labels; the new ones with all labels, too.

    In background/ (the new images) and plain/ (all), the data have all classes, so that what has no
    label is background.
    """
    if (folder / DONE).exists():
        return
    new = CASES[task.case].new
    for split in SPLITS:
        whole = load_dataset(data=data, data_path=None, names=(), split=split)
        order = np.random.default_rng(task.seed).permutation(len(whole))
        half = len(whole) // 2
        old = [name for name in whole.class_names if name not in new]
        halves = []
        for part, images, others in (("old", order[:half], new), ("new", order[half:], old)):
            every = whole.subset(np.sort(images)) if split == "train" else whole
            own = without_classes(every, others)
            WRITERS["coco"](own, folder / part, split)
            halves.append(with_all_names(own, whole))
        WRITERS["coco"](every, folder / "labelled", split)  # the new images
        WRITERS["coco"](halves[-1], folder / "background", split)
        WRITERS["coco"](concatenate(halves) if split == "train" else whole, folder / "plain", split)
    (folder / DONE).touch()


def with_all_names(own: DetectionDataset, whole: DetectionDataset) -> DetectionDataset:
    """Name all classes in data that have objects of some of them."""
    labels = np.array([whole.class_names.index(name) for name in own.class_names])
    return replace(
        own,
        class_names=whole.class_names,
        category_ids=whole.category_ids,
        labels=labels[own.labels].astype(np.int32),
    )


def train(task: Task, whole: Path, options: argparse.Namespace) -> None:
    """Run the command, or resume it."""
    output = Path(options.output)
    parts = output / "data" / f"{task.case}_seed{task.seed}"
    write_parts(task, whole, parts)
    data = [parts / part for part in PARTS.get(task.method, ())] or [whole]
    words = [*map(str, data), "--config-file", CONFIG, *MODES.get(task.method, ())]
    words += ["--output-dir", str(output / task.name), "--seed", str(task.seed), "--device", "cpu"]
    if task.method in FROM_OLD:
        words += ["--from", str(output / task._replace(method="old").name)]
    words += ["--resume"] * (output / task.name / "command.yaml").exists()
    total = options.iterations * (2 if task.method in TWICE else 1)
    words += [*CASES[task.case].options, "SOLVER.MAX_ITER", str(total), "TEST.EVAL_PERIOD", "-1"]
    words += FASTER
    words += NO_DETECTIONS if task.method == "federated" else []
    subprocess.run([sys.executable, "-m", "centernet2", "train", *words], check=True)


def run(task: Task, options: argparse.Namespace) -> dict[str, Any]:
    """Train and evaluate on all labels of the validation images."""
    whole, started = whole_data(CASES[task.case], options), time.monotonic()
    train(task, whole, options)
    seconds = time.monotonic() - started
    metrics = centernet2.evaluate(Path(options.output) / task.name, data=whole)
    prefix = "bbox/AP/"
    return {
        **task._asdict(),
        "iterations": options.iterations,
        "seconds": round(seconds, 1),
        "AP": {n.removeprefix(prefix): ap for n, ap in metrics.items() if n.startswith(prefix)},
        **machine(),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table with means over the seeds."""
    lines = ["| new classes | method | seeds | AP of old classes | AP of new classes |"]
    lines.append("|---|---|---|---|---|")
    for case in CASES.values():
        for method in METHODS:
            found = [r["AP"] for r in rows if (r["case"], r["method"]) == (case.name, method)]
            old = [mean_ap(each, set(each) - set(case.new)) for each in found]
            new = [mean_ap(each, case.new) for each in found if method != "old"]
            cells = [f"{np.mean(each):.1f}" if each else "" for each in (old, new)]
            if found:
                names = ", ".join(case.new)
                lines.append(f"| {names} | {method} | {len(found)} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def mean_ap(by_class: Mapping[str, float], names: Iterable[str]) -> float:
    return float(np.mean([by_class[name] for name in names]))


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the results so far."""
    if path.exists():
        yield from map(json.loads, path.read_text().splitlines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", required=True)
    parser.add_argument("--bccd", help="data set with the classes RBC, WBC and Platelets")
    parser.add_argument("--cases", choices=CASES, nargs="+", default=["digits"])
    parser.add_argument("--methods", choices=METHODS, nargs="+", default=METHODS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.bccd is None and any(CASES[case].data == "bccd" for case in options.cases):
        parser.error("the cases of blood cells need --bccd")
    lines = Path(options.output) / "results.jsonl"
    lines.parent.mkdir(parents=True, exist_ok=True)
    done = {Task(**{f: row[f] for f in Task._fields}) for row in rows_of(lines)}
    tasks = [Task(c, m, s) for s in options.seeds for c in options.cases for m in options.methods]
    for task in tasks:
        if task not in done:
            print(task.name, flush=True)
            if not options.list:
                with lines.open("a") as file:
                    file.write(json.dumps(run(task, options)) + "\n")
                lines.with_suffix(".md").write_text(table([*rows_of(lines)]))


if __name__ == "__main__":
    main()
