"""The command `convert`: convert a data set to another layout."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from centernet2.arguments import checked
from centernet2.jobs import ClassMap, Data, DataPath, PathArgument
from centernet2.outputs import writable_folder

logger = logging.getLogger(__name__)


@checked()
def convert(
    data: Data,
    output: PathArgument,
    *,
    to: str,
    data_path: DataPath = None,
    class_map: ClassMap = None,
) -> dict[str, int]:
    """Convert a data set to another layout.

    Data without splits become the training split.

    Parameters
    ----------
    output
        New or empty folder for the result, outside the data set; the images are copied.
    to
        coco, yolo or voc.

    Returns
    -------
    The number of images of each split.
    """
    from centernet2.builders.data.class_map import class_map_of, parse_class_map, require_renamed
    from centernet2.data import WRITERS, omissions, rename_classes, require_writable, with_classes
    from centernet2.data.readers import ALL, find_dataset, load_split_files

    source_path, target = Path(data), writable_folder(Path(output), "OUTPUT")
    if to not in WRITERS:
        raise ValueError(f"--to is '{to}'; choose one of {', '.join(WRITERS)}")
    _require_new(target, source_path)
    names = parse_class_map(class_map_of(class_map) or ())
    datasets = {
        "train" if split == ALL else split: rename_classes(
            load_split_files(files, split, source_path, masks=True), names
        )
        for split, files in find_dataset(source_path, data_path).items()
    }
    require_renamed(names, list(datasets.values()))
    first = next(iter(datasets.values()))
    for split, dataset in datasets.items():
        if to == "yolo":  # one data.yaml lists the classes of all splits
            datasets[split] = with_classes(dataset, first.class_names, owner=first.name)
        require_writable(dataset, to)
    with _whole_or_nothing(target.resolve()):
        for split, dataset in datasets.items():
            WRITERS[to](dataset, target, split)
            for omission in omissions(dataset, to):
                logger.warning("%s: %s", target / split, omission)
            images, boxes = len(dataset), len(dataset.labels)
            logger.info("%s: %d images, %d boxes", target / split, images, boxes)
    return {split: len(dataset) for split, dataset in datasets.items()}


def _require_new(target: Path, source: Path) -> None:
    if target.exists() and any(target.iterdir()):
        raise ValueError(f"{target} already exists and is not an empty folder; give another one")
    if source.resolve() in target.resolve().parents:
        raise ValueError(
            f"{target} is in the data set {source}, which would be read with it; give a folder "
            "elsewhere"
        )


@contextmanager
def _whole_or_nothing(folder: Path) -> Iterator[None]:
    """Delete what the block has written into a new or empty folder if it fails."""
    existed = folder.exists()
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if existed:
            folder.mkdir(exist_ok=True)
        raise
