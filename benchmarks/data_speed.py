"""Training images per second of one core, against detectron2's mapper (Pillow).

python benchmarks/data_speed.py [--images 24] [--runs 7] [--peer COMMAND]

Both read the same JPEG files, with seven boxes each, and augment them as the config says: a shorter
edge of 640 to 800 (the 1x schedules), or EfficientDet's crop of 640 (scale 0.1 to 2), in one
thread. The photographs are those of --photos, tiled to the size, or noise over smooth shapes.

A further peer is started as COMMAND FOLDER. FOLDER holds the images and sizes.json, [[file, height,
width], ...]. For each line that it reads it handles every image once and writes one line of JSON:
{"seconds": s}.
"""

import argparse
import json
import shlex
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from harness import compare
from PIL import Image, ImageOps

from centernet2.builders.data.data_pipeline import build_train_transform
from centernet2.config import load_config
from centernet2.data.dataset import DetectionDataset, pack_paths
from centernet2.data.geometry import clip_and_drop_empty, flip_target, resize_target
from centernet2.data.samplers import ShuffledSampler
from centernet2.data.sharing import offsets_of
from centernet2.data.transforms import (
    EfficientDetResizeCrop,
    TrainTransform,
    random_integer,
    random_number,
)
from centernet2.data.worker_images import Draw, TrainImages, generator_of
from centernet2.images.resize import fit_square, shortest_edge_size

BOXES = 7  # of an image
SIZES = {
    "coco": (480, 640),
    "full-hd": (1080, 1920),
    "camera": (3000, 4000),
    "large-camera": (4000, 6000),
}
CONFIGS = {"shortest-edge": "CenterNet2_R50_1x", "crop": "CenterNet2_DLA-BiFPN-P5_640_16x_ST"}


def photograph(
    height: int, width: int, photos: list[Path], rng: np.random.Generator
) -> Image.Image:
    """Make an image of this size with the sharpness and noise of a photograph."""
    if photos:
        tile = Image.open(photos[int(rng.integers(len(photos)))]).convert("RGB")
        tile = ImageOps.contain(tile, (2 * 640, 2 * 480)) if height > 1000 else tile
        grid = Image.new("RGB", (width, height))
        for top in range(0, height, tile.height):
            for left in range(0, width, tile.width):
                grid.paste(tile, (left, top))
        return grid
    coarse = Image.fromarray(rng.integers(0, 256, (height // 30, width // 30, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    noise = rng.integers(-6, 7, pixels.shape, dtype=np.int16)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def write_images(
    folder: Path, count: int, size: tuple[int, int], photos: list[Path]
) -> DetectionDataset:
    rng = np.random.default_rng(0)
    height, width = size
    files = [f"{i}.jpg" for i in range(count)]
    for file in files:
        photograph(height, width, photos, rng).save(folder / file, quality=90)
    (folder / "sizes.json").write_text(json.dumps([[file, height, width] for file in files]))
    corners = rng.random((count * BOXES, 2, 2), np.float32) * (width, height)
    return DetectionDataset(
        name="speed",
        class_names=("thing",),
        category_ids=(1,),
        folder=folder,
        annotations=None,
        files=pack_paths(files),
        image_ids=np.arange(count),
        heights=np.full(count, height, np.int32),
        widths=np.full(count, width, np.int32),
        offsets=offsets_of(np.full(count, BOXES)),
        xywh=np.concatenate([corners.min(axis=1), np.ptp(corners, axis=1)], axis=1).astype(float),
        labels=np.zeros(count * BOXES, np.int32),
        areas=np.ones(count * BOXES),
        crowd=np.zeros(count * BOXES, bool),
    )


def ours(images: TrainImages, count: int) -> None:
    for i in range(count):
        assert images[Draw(position=i, image=i)].image is not None


def pillow(dataset: DetectionDataset, transform: TrainTransform) -> None:
    """Augment as detectron2's DatasetMapper does, with our random numbers."""
    first = transform.steps[0]
    for i in range(len(dataset)):
        generator = generator_of(0, i)
        with Image.open(dataset.image_path(i)) as file:
            # BGR, as INPUT.FORMAT is
            pixels = np.asarray(ImageOps.exif_transpose(file).convert("RGB"))[:, :, ::-1]
        target, (old_height, old_width) = dataset.target(i), pixels.shape[:2]
        if isinstance(first, EfficientDetResizeCrop):
            scaled = random_number(*first.scale_range, generator) * first.size
            height, width, _ = fit_square(old_height, old_width, size=scaled)
        else:
            length = first.lengths[random_integer(0, len(first.lengths) - 1, generator)]
            height, width = shortest_edge_size(
                old_height, old_width, length=length, max_size=first.max_size
            )
        pixels = np.asarray(
            Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
        )
        target = resize_target(
            target, height, width, scale=(width / old_width, height / old_height)
        )
        if isinstance(first, EfficientDetResizeCrop):
            pixels = pixels[: first.size, : first.size]
        if random_number(0, 1, generator) < 0.5:
            pixels, target = np.flip(pixels, axis=1), flip_target(target, pixels.shape[1], axis=-1)
        clip_and_drop_empty(target, height=pixels.shape[0], width=pixels.shape[1])
        torch.as_tensor(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def ask(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("run\n")
    process.stdin.flush()
    json.loads(process.stdout.readline())


def run(size: str, config: str, options: argparse.Namespace, photos: list[Path]) -> None:
    transform = build_train_transform(load_config(CONFIGS[config]))
    count = max(2, int(options.images * 480 * 640 / (SIZES[size][0] * SIZES[size][1])))
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_images(Path(folder), count, SIZES[size], photos)
        images = TrainImages(dataset, transform, ShuffledSampler(count, seed=0))
        works = {
            "ours": partial(ours, images, count),
            "pillow": partial(pillow, dataset, transform),
        }
        process = None
        if options.peer:
            process = subprocess.Popen(
                [*shlex.split(options.peer), folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            works["peer"] = partial(ask, process)
        results = compare(
            "training_images",
            works,
            runs=options.runs,
            size=SIZES[size],
            config=config,
            images=count,
        )
        if process is not None:
            process.communicate()
    speeds = {
        name: round(count / seconds["median"], 1) for name, seconds in results["seconds"].items()
    }
    print(
        json.dumps(
            {"benchmark": "training_images_per_second", "size": size, "config": config, **speeds}
        ),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", type=int, default=24, help="of COCO's size; as many pixels of the larger sizes"
    )
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--photos", type=Path, help="folder of JPEG photographs")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--peer", help="command of another implementation")
    options = parser.parse_args()
    torch.set_num_threads(1)
    photos = sorted(options.photos.glob("*.jpg")) if options.photos else []
    started = time.perf_counter()
    for config in options.configs:
        for size in options.sizes:
            run(size, config, options, photos)
    print(f"# {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
