"""Brings a data set into another layout."""

import logging
from pathlib import Path

from centernet2.data.convert import WRITERS
from centernet2.data.readers.catalog import find_sources
from centernet2.data.readers.layouts import ALL
from centernet2.data.readers.splits import load_source

logger = logging.getLogger(__name__)


def convert(data: Path, output: Path, *, to: str, data_path: Path | None = None) -> dict[str, int]:
    """Writes every split of a data set in another layout; images are copied. Data that are not divided become train.

    Args:
        data: folder or annotation file of any layout that is known, or a name of the catalogue.
        output: a folder that is empty or not there yet.
        to: "coco", "yolo" or "voc".
        data_path: the folder above a named data set.

    Returns:
        {split: number of images}.
    """
    if to not in WRITERS:
        raise ValueError(f"--to is '{to}'; choose one of {', '.join(WRITERS)}")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{output} is there already and not an empty folder; give another one")
    counts = {}
    for split, source in find_sources(data, data_path).items():
        dataset = load_source(source, split, data, masks=True)
        name = "train" if split == ALL else split
        WRITERS[to](dataset, output, name)
        counts[name] = len(dataset)
        logger.info("%s: %d images, %d boxes", output / name, len(dataset), len(dataset.boxes))
    return counts
