"""A data set and a config that train in a second."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import centernet2
from centernet2.checkpoint import load_checkpoint
from centernet2.jobs.train import TrainMode

SMALL = "CenterNet2_R18_small"
TINY = [
    "INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64", "DATALOADER.NUM_WORKERS", "0",
    "SOLVER.IMS_PER_BATCH", "2", "SOLVER.MAX_ITER", "4", "SOLVER.CHECKPOINT_PERIOD", "2",
]  # fmt: skip


def write_blocks(folder: Path, *names: str) -> Path:
    """Write four images with a bright block each, for training and validation.

    Args:
        names: classes of the data, "block" if there are none; the blocks are of the first.
    """
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    images, annotations = [], []
    for i in range(1, 5):
        pixels = np.full((64, 64, 3), 40, np.uint8)
        pixels[8 * i : 8 * i + 20, 10:34] = 220
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 64})
        box = {"bbox": [10, 8 * i, 24, 20], "area": 480, "iscrowd": 0}
        annotations.append({"id": i, "image_id": i, "category_id": 7, **box})
    categories = [{"id": 7 + i, "name": name} for i, name in enumerate(names or ("block",))]
    content = {"images": images, "annotations": annotations, "categories": categories}
    for split in ("train", "val"):
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return folder


def train(
    data: Path, output: Path, *options: str, resume: bool = False, seed: int | None = 3
) -> dict[str, float]:
    """Train on the CPU for some steps, with KEY VALUE options on top of TINY."""
    metrics = centernet2.train(
        SMALL, *TINY, *options,
        data=data, output_dir=output, seed=seed, device="cpu", resume=resume,
    )  # fmt: skip
    assert isinstance(metrics, dict)
    return metrics


def dry_run(data: Path, output: Path, *options: str) -> list[str]:
    """Return the plan of such a training run."""
    plan = centernet2.train(
        SMALL, *TINY, *options,
        data=data, output_dir=output, seed=3, device="cpu", mode=TrainMode(dry_run=True),
    )  # fmt: skip
    assert isinstance(plan, list)
    return plan


def assert_same_weights(first: Path, second: Path, name: str = "model_final.pth") -> None:
    """Assert that two runs wrote the same weights at the same iteration."""
    one, other = (load_checkpoint(run / name) for run in (first, second))
    assert one.iteration == other.iteration and one.weights.keys() == other.weights.keys()
    for key, tensor in one.weights.items():
        assert torch.equal(tensor, other.weights[key]), key
