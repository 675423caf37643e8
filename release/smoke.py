"""Train, evaluate and predict on four tiny images with the installed package.

It runs in an environment that holds the wheel, in an empty folder.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import centernet2

SIDE = 64  # pixels
TINY = ["SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "2", "INPUT.MIN_SIZE_TRAIN", "(64,)"]


def write_split(folder: Path, seed: int) -> None:
    """Write two images of a bright square, and their annotations in COCO's format."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    images, annotations = [], []
    for number in (1, 2):
        pixels = rng.integers(0, 80, (SIDE, SIDE, 3), dtype=np.uint8)
        left, top = (int(each) for each in rng.integers(0, SIDE // 2, 2))
        pixels[top : top + 24, left : left + 24] = 255
        name = f"{number}.png"
        Image.fromarray(pixels).save(folder / name)
        images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
        box = [left, top, 24, 24]
        extra = {"area": 576, "iscrowd": 0, "category_id": 1}
        annotations.append({"id": number, "image_id": number, "bbox": box, **extra})
    categories = [{"id": 1, "name": "square"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "_annotations.coco.json").write_text(json.dumps(content), "utf-8")


def command(*words: str) -> None:
    """Run a command of the package."""
    subprocess.run([sys.executable, "-m", "centernet2", *words], check=True)


def main() -> None:
    """Run the commands that a user runs first."""
    assert Path(centernet2.__file__).is_relative_to(sys.prefix), "this is not the installed wheel"
    write_split(Path("data/train"), seed=0)
    write_split(Path("data/valid"), seed=1)
    command("check", "data", "--findings-only")
    device = ("--device", "cpu")
    names = ("--config-file", "CenterNet2_R18_small", "--data", "data", "--output-dir", "run")
    command("train", *names, *device, *TINY)
    command("eval", "data", "--weights", "run", *device)
    command("predict", "data/valid", "--weights", "run", "--output", "predictions", *device)
    assert len(json.loads(Path("predictions/predictions.json").read_text("utf-8"))) == 2


if __name__ == "__main__":
    main()
