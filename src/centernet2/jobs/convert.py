"""The command `convert`: convert a data set to another layout."""

import logging
from pathlib import Path

from centernet2.jobs import PathArgument

logger = logging.getLogger(__name__)


def convert(
    data: PathArgument, output: PathArgument, *, to: str, data_path: PathArgument | None = None
) -> dict[str, int]:
    """Convert a data set to another layout.

    Parameters
    ----------
    data
        Folder or annotation file in any layout (COCO, YOLO, Pascal VOC ...), or the name of a data
        set. Data without splits become the training split.
    output
        New or empty folder for the result; the images are copied.
    to
        coco, yolo or voc.
    data_path
        Folder that contains a named data set.

    Returns
    -------
    The number of images of each split.
    """
    from centernet2.data import WRITERS
    from centernet2.data.readers import ALL, find_dataset, load_split_files

    source_path, target = Path(data), Path(output)
    if to not in WRITERS:
        raise ValueError(f"--to is '{to}'; choose one of {', '.join(WRITERS)}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} already exists and is not an empty folder; give another one")
    counts = {}
    splits = find_dataset(source_path, None if data_path is None else Path(data_path))
    for split, files in splits.items():
        dataset = load_split_files(files, split, source_path, masks=True)
        name = "train" if split == ALL else split
        WRITERS[to](dataset, target, name)
        counts[name] = len(dataset)
        logger.info("%s: %d images, %d boxes", target / name, len(dataset), len(dataset.boxes))
    return counts
