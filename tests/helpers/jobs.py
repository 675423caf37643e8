"""Inputs of the jobs: noise images, and untrained detectors."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import centernet2
from centernet2.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from centernet2.data.readers import load_dataset
from centernet2.files import write_atomic, write_json
from centernet2.structures import ModelInfo
from tests.helpers.training import write_blocks

SMALL = "CenterNet2_R18_small"
# small images, few and certain detections, no worker processes
QUICK = [
    "INPUT.MIN_SIZE_TEST", "64", "INPUT.MAX_SIZE_TEST", "96", "DATALOADER.NUM_WORKERS", "0",
    "MODEL.CENTERNET.INFERENCE_TH", "0.0", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0",
    "MODEL.CENTERNET.POST_NMS_TOPK_TEST", "20", "TEST.DETECTIONS_PER_IMAGE", "10",
]  # fmt: skip


def write_photographs(folder: Path, count: int = 2) -> Path:
    """Write noise images 0.png, 1.png, ...; return the folder."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(count):
        pixels = generator.integers(0, 256, (48 + 8 * index, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def build_untrained(*overrides: str, classes: int = 2) -> centernet2.Detector:
    """Build a small detector with seeded weights."""
    number = str(classes)
    keys = ["MODEL.ROI_HEADS.NUM_CLASSES", number, "MODEL.CENTERNET.NUM_CLASSES", number]
    torch.manual_seed(0)
    return centernet2.build_model(centernet2.load_config(SMALL, [*QUICK, *keys, *overrides]))


def write_divided_run(folder: Path) -> tuple[Path, Path]:
    """Write undivided data, and perfect detections of the half of them that a run holds out.

    Returns:
        The annotation file, and the output folder of the training run.
    """
    data, run = write_blocks(folder) / "annotations" / "instances_train.json", folder / "run"
    held_out = load_dataset(data=data, data_path=None, names=(), split="val", val_fraction=0.5)
    detections = [
        {**each, "score": 0.9}
        for each in json.loads(data.read_text())["annotations"]
        if each["image_id"] in held_out.image_ids
    ]
    write_json(run / "eval" / "predictions.json", detections)
    config = centernet2.load_config(SMALL, ["DATASETS.VAL_FRACTION", "0.5"])
    write_atomic(run / "config.yaml", config.to_yaml())
    return data, run


def save_untrained(
    path: Path, class_names: tuple[str, ...] = ("cat", "dog"), *overrides: str
) -> Path:
    """Write a checkpoint of such a detector; return its path."""
    model = build_untrained(*overrides, classes=len(class_names))
    info = ModelInfo(
        class_names=class_names, config=model.info.config, config_name=model.info.config_name
    )
    save_checkpoint(path, Checkpoint(model.state_dict(), info, iteration=1, metrics={}))
    return path


def save_without_names(path: Path, weights: Path) -> Path:
    """Write a copy of a checkpoint without class names; return its path."""
    checkpoint = load_checkpoint(weights)
    save_checkpoint(path, replace(checkpoint, info=replace(checkpoint.info, class_names=())))
    return path
