"""Inputs of the jobs: noise images, and untrained detectors."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

import centernet2
from centernet2.checkpoint import Checkpoint, save_checkpoint
from centernet2.structures import ModelInfo

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


def save_untrained(path: Path, class_names: tuple[str, ...] = ("cat", "dog")) -> Path:
    """Write a checkpoint of such a detector; return its path."""
    model = build_untrained(classes=len(class_names))
    info = ModelInfo(
        class_names=class_names, config=model.info.config, config_name=model.info.config_name
    )
    save_checkpoint(path, Checkpoint(model.state_dict(), info, iteration=1, metrics={}))
    return path
