"""The data sets that configurations name, and where their files are looked for."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from centernet2.data.dataset import DetectionDataset, concatenate
from centernet2.data.readers import layouts
from centernet2.data.readers.coco import load_coco, load_coco_in_shards
from centernet2.data.readers.layouts import ALL, Source
from centernet2.data.readers.splits import load_split
from centernet2.data.storage import address, find_shards, open_remote

ROOT_VARIABLE = "DETECTRON2_DATASETS"
ANNOTATIONS_AT = ".json@"  # a data set by its files: ANNOTATIONS.json@IMAGES
COCO_FOLDERS = (
    "coco2017",
    "coco",
    "",
)  # what stands for coco/ in the paths below; "": the folder itself was given


class DatasetSpec(NamedTuple):
    """Where a data set lies below the folder of all data sets."""

    images: str
    annotations: str


DATASETS: dict[str, DatasetSpec] = {
    "coco_2014_train": DatasetSpec("coco/train2014", "coco/annotations/instances_train2014.json"),
    "coco_2014_val": DatasetSpec("coco/val2014", "coco/annotations/instances_val2014.json"),
    "coco_2014_minival": DatasetSpec("coco/val2014", "coco/annotations/instances_minival2014.json"),
    "coco_2014_valminusminival": DatasetSpec(
        "coco/val2014", "coco/annotations/instances_valminusminival2014.json"
    ),
    "coco_2017_train": DatasetSpec("coco/train2017", "coco/annotations/instances_train2017.json"),
    "coco_2017_val": DatasetSpec("coco/val2017", "coco/annotations/instances_val2017.json"),
    "coco_2017_val_100": DatasetSpec("coco/val2017", "coco/annotations/instances_val2017_100.json"),
    "coco_2017_test": DatasetSpec("coco/test2017", "coco/annotations/image_info_test2017.json"),
    "coco_2017_test-dev": DatasetSpec(
        "coco/test2017", "coco/annotations/image_info_test-dev2017.json"
    ),
    "coco_2017_unlabeled": DatasetSpec(
        "coco/unlabeled2017", "coco/annotations/image_info_unlabeled2017.json"
    ),
    "coco_un_yolov4_55_0.5": DatasetSpec(
        "coco/unlabeled2017", "coco/annotations/yolov4_cocounlabeled_55_ann0.5.json"
    ),
    "lvis_v1_train": DatasetSpec("coco", "lvis/lvis_v1_train.json"),
    "lvis_v1_val": DatasetSpec("coco", "lvis/lvis_v1_val.json"),
    "lvis_v1_test_dev": DatasetSpec("coco", "lvis/lvis_v1_image_info_test_dev.json"),
    "lvis_v1_test_challenge": DatasetSpec("coco", "lvis/lvis_v1_image_info_test_challenge.json"),
    "objects365_train": DatasetSpec(
        "objects365/train", "objects365/annotations/objects365_train.json"
    ),
    "objects365_val": DatasetSpec("objects365/val", "objects365/annotations/objects365_val.json"),
    "nuimages_train": DatasetSpec("nuimages", "nuimages/annotations/nuimages_v1.0-train.json"),
    "nuimages_val": DatasetSpec("nuimages", "nuimages/annotations/nuimages_v1.0-val.json"),
    "nuimages_mini": DatasetSpec("nuimages", "nuimages/annotations/nuimages_v1.0-mini.json"),
}


def find_split(
    *,
    data: Path | None,
    data_path: Path | None,
    names: Sequence[str],
    split: Literal["train", "val"],
    masks: bool = False,
    val_fraction: float = 0.0,
    val_seed: int = 0,
) -> DetectionDataset:
    """Load a split: of `data` (a folder or a file in any layout, or a name of the catalogue), or the named data sets.

    Named data sets are looked for below `data_path`, below $DETECTRON2_DATASETS, then below ./datasets. Masks are read
    if asked for. `val_fraction` and `val_seed` make the splits that `data` lacks.
    """
    if data is not None and data_path is not None:
        raise ValueError(
            "--data (one data set) and --data-path (the folder above the named ones) exclude each other"
        )
    if data is not None:
        named = None if Path(data).exists() else _names_of(str(data), split)
        if named is None:
            return load_split(
                Path(data), split, masks=masks, val_fraction=val_fraction, seed=val_seed
            )
        names = (named,)
    if not names:
        raise ValueError(
            f"no data set is named for {split}; give --data DIR or set DATASETS.TRAIN and DATASETS.TEST"
        )
    root = _root(data_path)
    return concatenate([_load_named(name, root, masks) for name in names])


def find_sources(data: Path, data_path: Path | None = None) -> dict[str, Source]:
    """The files of the splits of a folder, a file or a name of the catalogue: coco_2017, or coco_2017_val alone."""
    if data.exists():
        return layouts.find_sources(data)
    name = str(data)
    if name in DATASETS:
        names = {name.rpartition("_")[2] if name.endswith(("_train", "_val")) else ALL: name}
    else:
        names = {split: full for split in ("train", "val") if (full := _names_of(name, split))}
    if not names:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise FileNotFoundError(
            f"{data} is not there; give a folder, an annotation file or the name of a data set{hint}"
        )
    return {split: _source_named(full, _root(data_path)) for split, full in names.items()}


def _names_of(name: str, split: str) -> str | None:
    """The data set of a split that a name of the catalogue means (coco_2017, coco_2017_train); None: it is no name."""
    stem = name.removesuffix("_train").removesuffix("_val")
    if name in DATASETS and not name.endswith(("_train", "_val")):
        return name
    return f"{stem}_{split}" if f"{stem}_{split}" in DATASETS else None


def _load_named(name: str, root: Path, masks: bool) -> DetectionDataset:
    if ANNOTATIONS_AT in name:
        file, _, folder = name.rpartition("@")
        advice = "a data set by its files is ANNOTATIONS.json@IMAGES"
        path, shards = _require([Path(file)], "the annotations", advice), find_shards(folder)
        if shards:
            return load_coco_in_shards(path, shards, name=path.stem, masks=masks)
        remote = address(folder)
        if remote is not None:
            open_remote(remote)  # says here, not in a worker, what is not installed
            return load_coco(path, Path(remote), name=path.stem, masks=masks)
        return load_coco(
            path, _require([Path(folder)], "the images", advice), name=path.stem, masks=masks
        )
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(DATASETS)}"
        raise ValueError(f"unknown data set {name!r}; {hint} For data of your own give --data DIR")
    source = _source_named(name, root)
    return load_coco(source.annotations, source.images[0], name=name, masks=masks)


def _source_named(name: str, root: Path) -> Source:
    spec = DATASETS[name]
    advice = f"give the folder above with --data-path or in ${ROOT_VARIABLE}"
    annotations = _require(_places(root, spec.annotations), f"the annotations of {name}", advice)
    return Source(
        "coco",
        annotations,
        (_require(_places(root, spec.images), f"the images of {name}", advice),),
    )


def _root(data_path: Path | None) -> Path:
    return Path(data_path or os.environ.get(ROOT_VARIABLE, "datasets")).expanduser()


def _places(root: Path, path: str) -> list[Path]:
    """Where a path of the catalogue may lie below the root."""
    first, _, rest = path.partition("/")
    if first != "coco":
        return [root / path]
    return [root / folder / rest for folder in COCO_FOLDERS if folder or rest]


def _require(places: Sequence[Path], what: str, advice: str) -> Path:
    for place in places:
        if place.exists():
            return place
    raise FileNotFoundError(f"{what} were not found at {' or '.join(map(str, places))}; {advice}")
