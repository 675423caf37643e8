"""What whole commands lose against the bare call that they wrap.

python benchmarks/commands.py WEIGHTS DATA [--cases pictures film ...] [--runs 3] [--images 40 180]

WEIGHTS are those of a training run and DATA its data set, such as the demo's (`make demo`), or an
exported file in the cases of images and films. Each command runs twice, on a few images and on
more; the difference is its time for an image, or a step, without its start. The bare call does the
same in the main thread of another process: the predictor on an image file or frame, the detector on
batches, or a plain PyTorch loop, both on batches in memory. The result is the ratio, and what both
used: a command that waits, or whose threads are in each other's way, shows there.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from harness import machine, spread

WARM_UP = 24  # images or steps of the bare call before the clock starts: three batches
TRAIN_WORDS = ["TEST.EVAL_PERIOD", "-1", "SEED", "-1"]


class Used(NamedTuple):
    """What a process has used."""

    seconds: float
    processor_seconds: float
    switches: float  # of context

    def since(self, before: "Used", items: int = 1) -> "Used":
        """Return what an item has used since an earlier moment."""
        return Used(*((a - b) / items for a, b in zip(self, before, strict=True)))


def used(who: int) -> Used:
    counts = resource.getrusage(who)
    processor = counts.ru_utime + counts.ru_stime
    return Used(time.perf_counter(), processor, counts.ru_nvcsw + counts.ru_nivcsw)


class Inputs:
    """The inputs of the commands, made of the first training images of a data set."""

    def __init__(self, weights: Path, data: Path, folder: Path) -> None:
        self.weights, self.data, self.folder = weights, data, folder
        self.content = json.loads((data / "annotations" / "instances_train.json").read_text())

    def images(self, count: int) -> Path:
        """Return a folder of so many images."""
        folder = self.folder / f"images{count}"
        if not folder.exists():
            folder.mkdir()
            for each in self.content["images"][:count]:
                source = (self.data / "images" / each["file_name"]).resolve()
                (folder / Path(each["file_name"]).name).symlink_to(source)
        return folder

    def film(self, count: int) -> Path:
        """Return a film with so many frames."""
        path = self.folder / f"film{count}.mp4"
        if not path.exists():
            from fractions import Fraction

            from centernet2.images.image_files import read_image
            from centernet2.predict.film_writer import FilmWriter

            with FilmWriter(path.with_suffix(""), Fraction(25)) as film:
                for i, file in enumerate(sorted(self.images(count).iterdir())):
                    film.write(read_image(file), Fraction(i, 25))
        return path

    def split(self, count: int) -> Path:
        """Return a data set with so many validation images."""
        folder = self.folder / f"data{count}"
        if not folder.exists():
            (folder / "annotations").mkdir(parents=True)
            (folder / "images").symlink_to((self.data / "images").resolve())
            images = self.content["images"][:count]
            ids = {each["id"] for each in images}
            objects = [each for each in self.content["annotations"] if each["image_id"] in ids]
            content = {**self.content, "images": images, "annotations": objects}
            (folder / "annotations" / "instances_val.json").write_text(json.dumps(content))
        return folder


def command_of(case: str, inputs: Inputs, count: int, output: str) -> list[str]:
    """Return the command of a case for so many images or steps."""
    weights = ["--weights", str(inputs.weights)]
    if case == "eval":
        return ["eval", *weights, "--data", str(inputs.split(count)), "--output-dir", output]
    if case == "train":
        options = ["SOLVER.MAX_ITER", str(count), *TRAIN_WORDS]
        config = str(inputs.weights.with_name("config.yaml"))
        data = ["--data", str(inputs.data), "--output-dir", output]
        return ["train", "--config-file", config, *data, *options]
    source = inputs.film(count) if case.startswith("film") else inputs.images(count)
    kinds = "json" if case.endswith("json") else "pictures,json"
    return ["predict", str(source), *weights, "--output", output, "--write", kinds]


def run_command(case: str, inputs: Inputs, counts: tuple[int, int]) -> Used:
    """Return what a command uses for an image or step."""
    ends = []
    for count in counts:
        with tempfile.TemporaryDirectory(dir=inputs.folder) as output:
            command = [sys.executable, "-m", "centernet2", *command_of(case, inputs, count, output)]
            before = used(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, capture_output=True)
            ends.append(used(resource.RUSAGE_CHILDREN).since(before))
    return ends[1].since(ends[0], counts[1] - counts[0])


def predictions(case: str, inputs: Inputs, count: int) -> Iterator[object]:
    """Detect in one image file or frame after the other, without writing anything."""
    from centernet2.builders.detector.predictor_loading import load_predictor
    from centernet2.predict.films import Film, FilmSource

    predictor = load_predictor(inputs.weights)
    if case.startswith("film"):
        path = str(inputs.film(count))
        with Film(FilmSource(path, path)) as film:
            frames = [frame.image for frame in film.frames()]
        return (predictor(frame, score_threshold=0.3) for frame in frames)
    files = sorted(inputs.images(count).iterdir())
    return (predictor(file, score_threshold=0.3) for file in files)


def detections(inputs: Inputs, count: int) -> Iterator[object]:
    """Detect in the batches of an evaluation, which are in memory."""
    import torch

    from centernet2.builders.detector.loading import config_of, load_for_inference
    from centernet2.images.image_files import read_image
    from centernet2.images.resize import make_test_resize
    from centernet2.images.stored_image import to_tensor

    model = load_for_inference(inputs.weights)
    resize, size = make_test_resize(model.info.test_size), config_of(model.info).run.test_batch_size
    files = sorted(inputs.images(count).iterdir())
    images = [resize(to_tensor(read_image(file))) for file in files]
    for first in range(0, count, size):
        batch = images[first : first + size]
        with torch.inference_mode():
            model.detect(batch)
        yield from batch


def steps(inputs: Inputs) -> Iterator[object]:
    """Train in a plain loop on batches that are in memory."""
    import torch

    import centernet2
    from centernet2.builders.data.data_pipeline import build_train_batches
    from centernet2.builders.detector.network import build_detector
    from centernet2.builders.training.config_completion import fit_to_data
    from centernet2.builders.training.solver import build_clip, build_optimizer
    from centernet2.builders.training.training_data import find_training_data

    given = centernet2.load_config(inputs.weights.with_name("config.yaml"), ["SEED", "1"])
    train_set, _ = find_training_data(given, str(inputs.data), None)
    config = fit_to_data(given, train_set)
    model = centernet2.optimize_for_training(build_detector(config).train())
    optimizer, clip = build_optimizer(config, model), build_clip(config)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    batches = [*islice(build_train_batches(config, train_set, start=0), WARM_UP)]
    for group in optimizer.param_groups:
        group["lr"] *= 0.01  # as in the command, which has just begun
    while True:
        for batch in batches:
            optimizer.zero_grad()
            losses = model(batch.images, batch.targets)
            torch.stack(list(losses.values())).sum().backward()
            if clip is not None:
                clip(parameters)
            optimizer.step()
            yield batch


def measure_bare(case: str, inputs: Inputs, counts: tuple[int, int]) -> None:
    """Print what the bare call uses for an image or step."""
    few, more = counts
    if case == "eval":
        items = detections(inputs, more)
    else:
        items = steps(inputs) if case == "train" else predictions(case, inputs, more)
    for _ in islice(items, WARM_UP):
        pass
    before = used(resource.RUSAGE_SELF)
    count = sum(1 for _ in islice(items, more - few))
    print(json.dumps(used(resource.RUSAGE_SELF).since(before, count)))


def run_bare(case: str, options: argparse.Namespace, folder: Path) -> Used:
    command = [sys.executable, __file__, str(options.weights), str(options.data), "--bare", case]
    command += ["--images", *map(str, options.images), "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Used(*json.loads(done.stdout.splitlines()[-1]))


CASES = ("json", "pictures", "film json", "film", "eval", "train")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--images", nargs=2, type=int, default=(40, 184), help="or steps")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--bare", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    counts = (options.images[0], options.images[1])
    if options.bare:
        inputs = Inputs(options.weights, options.data, options.folder)
        measure_bare(options.bare, inputs, counts)
        return
    with tempfile.TemporaryDirectory() as folder:
        inputs = Inputs(options.weights, options.data, Path(folder))
        for case in options.cases:
            pairs = [
                (run_command(case, inputs, counts), run_bare(case, options, Path(folder)))
                for _ in range(options.runs)
            ]
            result = {
                "benchmark": f"command, {case}",
                **{
                    f"{name}, command / bare": spread([a[i] / max(b[i], 1e-9) for a, b in pairs])
                    for i, name in enumerate(Used._fields[:2])
                },
                "command": [dict(a._asdict()) for a, _ in pairs],
                "bare": [dict(b._asdict()) for _, b in pairs],
                "runs": options.runs,
                **machine(),
            }
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
