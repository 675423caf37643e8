"""Load the training or validation split of a data set, or divide undivided data."""

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from centernet2.data.dataset import DetectionDataset
from centernet2.data.findings import log_changes
from centernet2.data.index import cached
from centernet2.data.readers.coco import pack_content
from centernet2.data.readers.image_folders import PROBED_IMAGES
from centernet2.data.readers.layouts import ALL, SplitFiles, find_splits, read_split_files
from centernet2.files import printable
from centernet2.structures import IntArray

logger = logging.getLogger(__name__)

SplitName = Literal["train", "val"]


def load_split(
    path: Path, split: SplitName, *, masks: bool, val_fraction: float = 0.0, seed: int = 0
) -> DetectionDataset:
    """Load one split of a folder or an annotation file.

    If there is no validation split and `val_fraction` is above 0, this share of the images, drawn
    from `seed`, becomes the validation split, and the rest the training split. Without it,
    undivided data can be evaluated as a whole but not trained on.
    """
    _require_share(val_fraction)
    splits = find_splits(path)
    whole = ALL if ALL in splits else "train"
    if split in splits and (split == "val" or "val" in splits):
        return load_split_files(splits[split], split, path, masks=masks)
    advice = "train with --val-fraction 0.1, which keeps a tenth of its images for validation"
    if whole not in splits:
        found = ", ".join(f"{name} ({files.annotations})" for name, files in splits.items())
        raise ValueError(f"{path}: there is no {split} split, only {found}; add one")
    if val_fraction:
        undivided = load_split_files(splits[whole], split, path, masks=masks)
        return part_of_undivided(undivided, split, val_fraction, seed)
    if whole == "train" and split == "val":
        raise ValueError(
            f"{path}: there is no validation split, only {', '.join(splits)}; add one, or {advice}"
        )
    if whole == ALL and split == "train":
        raise ValueError(f"{path}: the images are not divided into splits; {advice}")
    return load_split_files(splits[whole], split, path, masks=masks)


def load_split_files(files: SplitFiles, split: str, path: Path, *, masks: bool) -> DetectionDataset:
    """Load the files of one split of the data set at `path`.

    Raises:
        FileNotFoundError: no image of the training split exists. Evaluation may not need images:
            detections that are read from a file are compared with the annotations alone.
    """
    name = f"{printable(path.resolve().stem)}_{split}"

    def read() -> DetectionDataset:
        content, folder, findings = read_split_files(files, split)
        dataset = pack_content(
            content, files.annotations, folder, name=name, masks=masks, findings=findings
        )
        return replace(dataset, layout=files.layout)

    if files.layout == "coco":
        options = ["layout", split, name, masks, *files.images]
        dataset = cached([files.annotations], options, read, is_usable=_has_images)
    else:
        dataset = read()
    log_changes(files.annotations, dataset.findings)
    if split == "train" and not _has_images(dataset):
        raise FileNotFoundError(
            f"{files.annotations}: its images were not found, such as {dataset.image_path(0)}; "
            "put them into a folder images/ beside the annotations"
        )
    return replace(dataset, annotations=files.annotations) if files.layout == "coco" else dataset


def _has_images(dataset: DetectionDataset) -> bool:
    probes = np.linspace(0, len(dataset) - 1, min(PROBED_IMAGES, len(dataset))).astype(int).tolist()
    return any(os.path.isfile(dataset.image_path(i)) for i in probes)


def divide(count: int, val_fraction: float, seed: int) -> tuple[IntArray, IntArray]:
    """Divide image indices at random into training and validation.

    Both parts are in ascending order and hold at least one image of two or more.
    """
    held_out = min(count - 1, max(1, round(val_fraction * count)))
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def part_of_undivided(
    whole: DetectionDataset, split: SplitName, val_fraction: float, seed: int
) -> DetectionDataset:
    """Return the training or the validation part of undivided data, drawn from a seed."""
    _require_share(val_fraction)
    if len(whole) < 2:
        raise ValueError(
            f"{whole.origin}: one image cannot be divided into a training and a validation split; "
            "add images"
        )
    train, val = divide(len(whole), val_fraction, seed)
    logger.info("%s: %d of %d images are kept for validation", whole.name, len(val), len(whole))
    indices: npt.NDArray[np.integer[Any]] = train if split == "train" else val
    # without annotations: the file describes all images
    return replace(whole.subset(indices), annotations=None, divided=True)


def _require_share(val_fraction: float) -> None:
    if not 0 <= val_fraction < 1:
        raise ValueError(
            f"--val-fraction (DATASETS.VAL_FRACTION) is {val_fraction}; "
            "it must be at least 0 and below 1"
        )
