"""The training and the validation split of a data set in any layout: found, or made of the images that there are."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from centernet2.data.dataset import DetectionDataset
from centernet2.data.index import cached
from centernet2.data.readers.coco import pack_content
from centernet2.data.readers.layouts import ALL, PROBES, Source, find_sources, read_source

logger = logging.getLogger(__name__)

Split = Literal["train", "val"]


def load_split(
    path: Path, split: Split, *, masks: bool, val_fraction: float = 0.0, seed: int = 0
) -> DetectionDataset:
    """One split of a folder or an annotation file.

    A split that is not there is made where `val_fraction` is above 0: that share of the images, drawn from `seed`, is
    the validation split, and the others are the training split. Without it, data that are not divided may be evaluated
    on as a whole, but not be trained on.
    """
    if not 0 <= val_fraction < 1:
        raise ValueError(
            f"--val-fraction (DATASETS.VAL_FRACTION) is {val_fraction}; it is a share from 0 to below 1"
        )
    sources = find_sources(path)
    whole = ALL if ALL in sources else "train"
    if split in sources and (split == "val" or "val" in sources):
        return load_source(sources[split], split, path, masks=masks)
    advice = f"--val-fraction 0.1 keeps a tenth of the images of {path} for validation"
    if whole not in sources:
        raise ValueError(f"{path}: there is no {split} split, only {', '.join(sources)}; add one")
    if val_fraction:
        return _part(
            load_source(sources[whole], split, path, masks=masks), split, val_fraction, seed
        )
    if whole == "train" and split == "val":
        raise ValueError(
            f"{path}: there is no validation split, only {', '.join(sources)}; add one, or {advice}"
        )
    if whole == ALL and split == "train":
        raise ValueError(f"{path}: the images are not divided into splits; {advice}")
    return load_source(sources[whole], split, path, masks=masks)


def load_source(source: Source, split: str, path: Path, *, masks: bool) -> DetectionDataset:
    """The files of one split. FileNotFoundError where training would find no image.

    Evaluation may do without: predictions from a file need the annotations only.
    """
    name = f"{'voc_' * (source.format == 'voc')}{path.resolve().stem}_{split}"  # evaluation knows Pascal VOC by it

    def read() -> DetectionDataset:
        content, images = read_source(source, split)
        return pack_content(content, source.annotations, images, name=name, masks=masks)

    if source.format == "coco":
        options = ["layout", split, name, masks, *source.images]
        dataset = cached([source.annotations], options, read, is_usable=_has_images)
    else:
        dataset = read()
    if split == "train" and not _has_images(dataset):
        raise FileNotFoundError(
            f"{source.annotations}: its images were not found, such as {dataset.image_path(0)}; "
            "put them into a folder images/ beside the annotations"
        )
    return replace(dataset, annotations=source.annotations) if source.format == "coco" else dataset


def _has_images(dataset: DetectionDataset) -> bool:
    probes = np.linspace(0, len(dataset) - 1, min(PROBES, len(dataset))).astype(int).tolist()
    return any(dataset.image_path(i).is_file() for i in probes)


def divide(
    count: int, val_fraction: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of the training and of the validation images, both in rising order; each has one at least."""
    if count < 2:
        raise ValueError(
            "one image cannot be divided into a training and a validation split; add images"
        )
    held_out = min(count - 1, max(1, round(val_fraction * count)))
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def _part(
    whole: DetectionDataset, split: Split, val_fraction: float, seed: int
) -> DetectionDataset:
    train, val = divide(len(whole), val_fraction, seed)
    logger.info("%s: %d of %d images are kept for validation", whole.name, len(val), len(whole))
    indices: npt.NDArray[np.integer[Any]] = train if split == "train" else val
    return replace(whole.subset(indices), annotations=None)  # the file describes all images
