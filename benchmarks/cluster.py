"""Core seconds that an image costs by `predict --engine ray`, against one process.

python benchmarks/cluster.py [--config-file CenterNet2_R18_small] [--size 480 640] [--images 192]

Core seconds are those that all processes of both sides spend: decoding, detection, Ray, writing.
Each side predicts on a few images and on --images more; the difference leaves out what starting
costs. Ray has one worker with one core. The images are JPEG files, smooth shapes with noise; the
weights are random, with as many detections as the config admits.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
from data_speed import photograph
from harness import machine

from centernet2 import build_model, load_config
from centernet2.builders.prediction import cluster_prediction
from centernet2.builders.prediction.prediction_options import DetectionOptions
from centernet2.checkpoint import Checkpoint, save_checkpoint
from centernet2.jobs import InferenceOptions
from centernet2.jobs.predict import predict
from centernet2.structures import ModelInfo

FEW = cluster_prediction.SHARD_IMAGES  # images of the shorter run
STORE = 200 << 20  # bytes of Ray's shared memory
MILLION, HOUR = 1_000_000, 3600


def write_inputs(folder: Path, config: str, size: tuple[int, int], count: int) -> None:
    """Write two folders of images, few/ and many/, and model.pth."""
    model = build_model(load_config(config))
    info = ModelInfo(config=model.info.config, config_name=model.info.config_name)
    save_checkpoint(folder / "model.pth", Checkpoint(model.state_dict(), info, 1, {}))
    rng = np.random.default_rng(0)
    for name, images in (("few", FEW), ("many", FEW + count)):
        (folder / name).mkdir()
        for index in range(images):
            picture = photograph(*size, photos=[], rng=rng)
            picture.save(folder / name / f"{index}.jpg", quality=90)


def core_seconds() -> float:
    """Return the CPU time of this process and of all that it has started, so far."""
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:  # its parent counts it
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def measure(work: Callable[[str], object], count: int) -> float:
    """Return the core seconds of an image."""
    work("few")  # warm-up
    spent = []
    for name in ("few", "many"):
        before = core_seconds()
        work(name)
        spent.append(core_seconds() - before)
    return (spent[1] - spent[0]) / count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", default="CenterNet2_R18_small")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640))
    parser.add_argument("--images", type=int, default=192)
    options = parser.parse_args()
    cluster_prediction.SHARDS = 1  # shards as large as those of a million images
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, options.config_file, options.size, options.images)

        def run(images: str, **detection: Any) -> None:
            output = Path(tempfile.mkdtemp(dir=folder))
            predict(
                folder / images, weights=folder / "model.pth", output=output,
                score_threshold=0.0, inference=InferenceOptions(device="cpu"),
                write=None if detection.get("engine") else "json",
                detection=DetectionOptions(**detection),
            )  # fmt: skip

        alone = measure(lambda images: run(images, threads=1), options.images)
        ray.init(num_cpus=1, object_store_memory=STORE, log_to_driver=False)
        spread = measure(lambda images: run(images, engine="ray"), options.images)
        ray.shutdown()
    result = {
        "benchmark": "cluster",
        "config": options.config_file,
        "size": options.size,
        "images": options.images,
        "core_seconds_per_image": {"one process": round(alone, 4), "ray": round(spread, 4)},
        "ratio": {"ray / one process": round(spread / alone, 3)},
        "core_hours_per_million": round(spread * MILLION / HOUR, 1),
        **machine(),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
