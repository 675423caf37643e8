"""The files that the snippets of the documentation name, small, in one folder."""

import json
import os
import pickle
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import centernet2
from centernet2.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from centernet2.config import CLASS_KEYS
from docs.build_site import ROOT
from tests.helpers.films import write_film
from tests.helpers.jobs import QUICK

CLASSES = {
    "car": (220, 60, 60), "truck": (60, 220, 60), "cat": (60, 60, 220), "dog": (220, 220, 60),
}  # fmt: skip
SIDE = 64  # of an image in pixels
REPLACED = {".jpg", ".pkl", ".pth"}  # suffixes of files that no command changes in place
SHARDS = 128  # as many as docs/large-data.md names
# what is added to each command that trains
SHORT = [
    "SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0",
    "INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64", "INPUT.MAX_SIZE_TEST", "96",
]  # fmt: skip


def write_page_folder(folder: Path) -> Path:
    """Write data, pictures and a training run of one step, runs/mine; return the folder.

    Its detector finds ten objects in each image: no score is below its thresholds.
    """
    write_data(folder / "my_data", dict.fromkeys(CLASSES, ""))
    write_pictures(folder)
    run = folder / "runs" / "mine"
    centernet2.train(
        "CenterNet2_R18_small", *SHORT, *QUICK, "MODEL.MASK_ON", "True", "SOLVER.MAX_ITER", "1",
        data=folder / "my_data", output_dir=run, seed=1, device="cpu",
    )  # fmt: skip
    final = load_checkpoint(run / "model_final.pth")
    info = replace(final.info, score_thresholds=(0.0,) * len(CLASSES))
    save_checkpoint(run / "model_final.pth", replace(final, info=info))
    return folder


def write_inputs_of_commands(folder: Path) -> None:
    """Add what only commands need: other data sets, films, large weights, parts of the project."""
    write_data(folder / "other_data", {"car": "auto", "dog": "person"}, seed=7)
    for name, classes in (
        ("new_images", {"car": "van"}),
        ("cats", {"cat": ""}),
        ("dogs", {"dog": ""}),
    ):
        write_data(folder / name, classes, seed=8)
    (folder / "names.yaml").write_text("car: vehicle\ntruck: vehicle\n")
    rows = ["file,class,left,top,right,bottom", "1.jpg,cat,10,20,60,80", "2.jpg,dog,5,5,90,70"]
    (folder / "objects.csv").write_text("\n".join(rows))
    write_film(folder / "film.mp4", size=(720, 1280))
    write_coco(folder / "data" / "coco2017", folder / "my_data")
    write_data_by_files(folder)
    write_weights(folder)
    for name in ("docker", "examples", "test"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("demo", "new", "other", "teacher"):
        share_files(folder / "runs" / "mine", folder / "runs" / name)
    for name in ("corrected", "first", "runs/demo/data", "validation"):
        share_files(folder / "my_data", folder / name)
    share_files(folder / "photos", folder / "unlabelled")


def share_files(source: Path, target: Path) -> Path:
    """Copy a folder, of which large files are the same as before; return the copy."""

    def share(file: str, copy: str) -> None:
        (os.link if Path(file).suffix in REPLACED else shutil.copy)(file, copy)

    return shutil.copytree(source, target, copy_function=share, dirs_exist_ok=True)


def write_data(folder: Path, names: dict[str, str], seed: int = 0) -> None:
    """Write 16 images for training and 8 for validation, in COCO's layout.

    Args:
        names: of the classes to draw; a value other than "" is the name in the file.
    """
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    rng = np.random.default_rng(seed)
    categories = [{"id": i, "name": given or name} for i, (name, given) in enumerate(names.items())]
    for split, count in (("train", 16), ("val", 8)):
        images, annotations = [], []
        for i in range(1, count + 1):
            pixels, objects = draw_objects(rng, list(names))
            file = f"{split}_{i}.jpg"
            Image.fromarray(pixels).save(folder / "images" / file, quality=95)
            images.append({"id": i, "file_name": file, "width": SIDE, "height": SIDE})
            for category, box in objects:
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": i} | record(category, box)
                )
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def draw_objects(
    rng: np.random.Generator, names: list[str]
) -> tuple[np.ndarray, list[tuple[int, list[int]]]]:
    """Draw two rectangles on noise; return the image and the class and box (xywh) of each."""
    pixels = rng.integers(60, 120, (SIDE, SIDE, 3), dtype=np.uint8)
    objects = []
    for left in (4, SIDE // 2 + 2):
        category = int(rng.integers(len(names)))
        width, height = rng.integers(20, SIDE // 2 - 6, 2).tolist()
        top = int(rng.integers(2, SIDE - height - 2))
        pixels[top : top + height, left : left + width] = CLASSES[names[category]]
        objects.append((category, [left, top, width, height]))
    return pixels, objects


def record(category: int, box: list[int]) -> dict[str, Any]:
    """Return the values of an annotation, with a polygon."""
    left, top, width, height = box
    right, bottom = left + width, top + height
    polygon = [left, top, right, top, right, bottom, left, bottom]
    values = {"bbox": box, "area": width * height, "segmentation": [polygon]}
    return {"category_id": category, "iscrowd": 0} | values


def write_pictures(folder: Path) -> None:
    """Write photo.jpg, larger than a tile, and some more pictures."""
    (folder / "photos").mkdir()
    first = Image.open(folder / "my_data" / "images" / "val_1.jpg")
    for name in ("photo.jpg", "photo.ppm", "a.jpg", "b.jpg", "photos/1.jpg", "photos/2.jpg"):
        first.resize((1200, 800) if name.startswith("photo.") else (200, 200)).save(folder / name)
    (folder / "images.txt").write_text("photos/1.jpg\nphotos/2.jpg\n")


def write_coco(coco: Path, data: Path) -> None:
    """Write a data set in the layout of COCO 2017."""
    (coco / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        annotations = data / "annotations" / f"instances_{split}.json"
        shutil.copy(annotations, coco / "annotations" / f"instances_{split}2017.json")
        share_files(data / "images", coco / f"{split}2017")


def write_data_by_files(folder: Path) -> None:
    """Write annotation files beside folders of images, and tar shards."""
    source = folder / "my_data"
    for name, split in (("train", "train"), ("more", "train"), ("val", "val")):
        shutil.copy(source / "annotations" / f"instances_{split}.json", folder / f"{name}.json")
    for images in ("images", "data/more", "data/val"):
        share_files(source / "images", folder / images)
    files = sorted((source / "images").glob("train_*"))
    (folder / "data" / "shards").mkdir()
    for number in range(SHARDS):
        with tarfile.open(folder / "data" / "shards" / f"train-{number:03}.tar", "w") as shard:
            for file in files[number : number + 1]:
                shard.add(file, file.name)


def write_weights(folder: Path) -> None:
    """Write R-50.pkl, runs/old without masks, and a published model in the cache of downloads.

    All weights are random.
    """
    classes = dict.fromkeys(CLASS_KEYS, len(CLASSES))
    old = centernet2.build_model(
        centernet2.load_config("CenterNet2_R18_small", QUICK).replace(classes)
    )
    info = replace(old.info, class_names=tuple(CLASSES), score_thresholds=(0.0,) * len(CLASSES))
    save_checkpoint(
        folder / "runs" / "old" / "model_final.pth",
        Checkpoint(old.state_dict(), info, iteration=1, metrics={}),
    )
    model = centernet2.build_model("CenterNet2_R50_1x")
    body = {k: v.numpy() for k, v in model.backbone.body.state_dict().items()}
    (folder / "R-50.pkl").write_bytes(pickle.dumps(body))
    (folder / "cache").mkdir()
    others = (str(number) for number in range(len(CLASSES), model.num_classes))
    info = replace(model.info, class_names=(*CLASSES, *others))
    save_checkpoint(
        folder / "cache" / "CenterNet2_R50_1x.pth",
        Checkpoint(model.state_dict(), info, iteration=1, metrics={}),
    )
