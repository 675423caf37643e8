"""The catalog of named data sets, and the search for their files."""

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from centernet2.data.class_changes import rename_classes
from centernet2.data.dataset import DetectionDataset, concatenate
from centernet2.data.partial_labels import annotated_classes, concatenate_partial
from centernet2.data.readers.coco import load_coco, load_coco_in_shards
from centernet2.data.readers.layouts import ALL, SplitFiles, find_splits
from centernet2.data.readers.splits import SplitName, load_split, part_of_undivided
from centernet2.data.shards import find_shards
from centernet2.images.storage import open_remote, remote_url

StrPath = str | os.PathLike[str]
ROOT_VARIABLE = "DETECTRON2_DATASETS"
NO_CHANGE: Mapping[str, str] = MappingProxyType({})  # of class names
FILES_SEPARATOR = ".json@"  # in a data set given by its files: ANNOTATIONS.json@IMAGES
# folders tried for coco/ in the paths below; "": --data-path is the folder of COCO itself
COCO_ROOTS = ("coco2017", "coco", "")


class DatasetSpec(NamedTuple):
    """Paths of a data set below the folder of all data sets."""

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


def load_dataset(
    *,
    data: StrPath | None,
    data_path: StrPath | None,
    names: Sequence[str],
    split: SplitName,
    masks: bool = False,
    val_fraction: float = 0.0,
    val_seed: int = 0,
    class_map: Mapping[str, str] = NO_CHANGE,
    partial_labels: bool = False,
) -> DetectionDataset:
    """Load a split of one data set, or join several ones.

    Args:
        data: a folder or a file in any layout, or a name of the catalog.
        data_path: the folder above named data sets; default: $DETECTRON2_DATASETS, then ./datasets.
            A path as `data` excludes it.
        names: data sets to join if `data` is None: names of the catalog, ANNOTATIONS.json@IMAGES,
            or paths of data sets in any layout.
        split: of `data`, and of `names` that are paths.
        masks: also read masks.
        val_fraction: share of the images that becomes the validation split if `data` has none.
        val_seed: seed of the choice of these images.
        class_map: class name in the files -> its new name.
        partial_labels: classes that one of the joined data sets lacks are unknown in its images.
    """
    root = _root(data_path)
    load = partial(load_split, split=split, masks=masks, val_fraction=val_fraction, seed=val_seed)
    if data is not None:
        found = (
            load(Path(data))
            if _is_path(Path(data), data_path)
            else _load_split_named(str(data), split, root, masks, val_fraction, val_seed)
        )
        return rename_classes(found, class_map)
    if not names:
        raise ValueError(
            f"no data set is named for {split}; "
            "give --data DIR or set DATASETS.TRAIN and DATASETS.TEST"
        )
    sets = []
    for name in names:
        is_path = FILES_SEPARATOR not in name and os.path.exists(name)
        found = load(Path(name)) if is_path else _load_named(name, root, masks)
        sets.append(rename_classes(found, class_map))
    titles = _distinct_titles(names, [each.name for each in sets])
    sets = [replace(each, name=title) for each, title in zip(sets, titles, strict=True)]
    if not partial_labels:
        return concatenate(sets)
    joined = concatenate_partial(sets)
    return joined if split == "train" else replace(joined, federated=annotated_classes(joined))


def find_dataset(data: StrPath, data_path: StrPath | None = None) -> dict[str, SplitFiles]:
    """Find the splits and their files, from a folder, a file or a name of the catalog.

    The name of a split, such as coco_2017_val, gives that split alone.
    """
    if _is_path(Path(data), data_path):
        return find_splits(Path(data))
    name = str(data)
    if name in DATASETS:
        names = {name.rpartition("_")[2] if _is_split(name) else ALL: name}
    else:
        names = _splits_named(name)
    return {split: _files_named(full, _root(data_path)) for split, full in names.items()}


def _is_path(data: Path, data_path: StrPath | None) -> bool:
    """Whether --data is a path, to which --data-path does not apply, and not a name."""
    if os.path.exists(data):
        if data_path is not None:
            raise ValueError(
                f"--data {data} is a path, and --data-path is the folder above a named data set; "
                "give one of them"
            )
        return True
    name = str(data)
    if name in DATASETS or _splits_named(name):
        return False
    near = _nearest(name)
    hint = f"; did you mean {near}?" if near else ""
    raise FileNotFoundError(
        f"{data} does not exist; give a folder, an annotation file or the name of a data set{hint}"
    )


def _nearest(name: str) -> str | None:
    return next(iter(difflib.get_close_matches(name, DATASETS, n=1)), None)


def _is_split(name: str) -> bool:
    return name.endswith(("_train", "_val"))


def _splits_named(name: str) -> dict[str, str]:
    """Catalog names of both splits, for a name such as coco_2017 or coco_2017_val."""
    stem = name.removesuffix("_train").removesuffix("_val")
    return {split: full for split in ("train", "val") if (full := f"{stem}_{split}") in DATASETS}


def _load_split_named(
    name: str, split: SplitName, root: Path, masks: bool, val_fraction: float, val_seed: int
) -> DetectionDataset:
    """Load one split of a name of the catalog.

    A name without splits, such as coco_2017_test, is undivided: see `load_split`.
    """
    splits = _splits_named(name)
    if name not in DATASETS or _is_split(name):
        if split not in splits:
            raise ValueError(f"{name}: there is no {split} split, only {', '.join(splits)}")
        return _load_named(splits[split], root, masks)
    if val_fraction:
        return part_of_undivided(_load_named(name, root, masks), split, val_fraction, val_seed)
    if split == "train":
        raise ValueError(
            f"{name} is one set of images, which would serve as training and as validation split; "
            "give a name that has both splits, such as coco_2017, set DATASETS.TRAIN and "
            "DATASETS.TEST, or --val-fraction 0.1 to keep a tenth of its images for validation"
        )
    return _load_named(name, root, masks)


def _load_named(name: str, root: Path, masks: bool) -> DetectionDataset:
    if FILES_SEPARATOR in name:
        return _load_by_files(name, masks)
    if name not in DATASETS:
        near = _nearest(name)
        hint = f"did you mean {near}?" if near else f"known are {', '.join(DATASETS)}."
        raise ValueError(f"unknown data set {name!r}; {hint} For your own data give --data DIR")
    files = _files_named(name, root)
    return load_coco(files.annotations, files.images[0], name=name, masks=masks)


def _load_by_files(name: str, masks: bool) -> DetectionDataset:
    """Load ANNOTATIONS.json@IMAGES; the images may be in shards or remote."""
    file, _, folder = name.rpartition("@")
    advice = "a data set by its files is ANNOTATIONS.json@IMAGES"
    path, shards = _existing([Path(file)], "the annotations", advice), find_shards(folder)
    if shards:
        return load_coco_in_shards(path, shards, name=path.stem, masks=masks)
    remote = remote_url(folder)
    if remote is not None:
        open_remote(remote)  # raises here, rather than in a worker, if a package is missing
        return load_coco(path, Path(remote), name=path.stem, masks=masks)
    images = _existing([Path(folder)], "the images", advice)
    return load_coco(path, images, name=path.stem, masks=masks)


def _distinct_titles(names: Sequence[str], titles: Sequence[str]) -> list[str]:
    """Tell data sets of one title apart by their folders, whatever their order.

    ("a/val.json@...", "b/val.json@...") have the titles "a/val" and "b/val".
    """
    paths = [Path(name.rpartition("@")[0] or name).absolute().with_suffix("") for name in names]
    distinct = []
    for title, path in zip(titles, paths, strict=True):
        pairs = zip(titles, paths, strict=True)
        others = {other for same, other in pairs if same == title and other != path}
        lengths = range(1, len(path.parts) + 1)
        length = next(
            n for n in lengths if all(path.parts[-n:] != other.parts[-n:] for other in others)
        )
        distinct.append(title if length == 1 else "/".join(path.parts[-length:]))
    return distinct


def _files_named(name: str, root: Path) -> SplitFiles:
    spec = DATASETS[name]
    advice = (
        f"give the folder above with --data-path or in ${ROOT_VARIABLE}, "
        "or your own data with --data"
    )
    annotations = _existing(_paths(root, spec.annotations), f"the annotations of {name}", advice)
    images = _existing(_paths(root, spec.images), f"the images of {name}", advice)
    return SplitFiles("coco", annotations, (images,))


def _root(data_path: StrPath | None) -> Path:
    return Path(os.path.expanduser(data_path or os.environ.get(ROOT_VARIABLE, "datasets")))


def _paths(root: Path, path: str) -> list[Path]:
    """Candidates below the root for a path of the catalog."""
    first, _, rest = path.partition("/")
    if first != "coco":
        return [root / path]
    return [root / folder / rest for folder in COCO_ROOTS if folder or rest]


def _existing(paths: Sequence[Path], what: str, advice: str) -> Path:
    for path in paths:
        if os.path.exists(path):
            return path
    raise FileNotFoundError(f"{what} were not found at {' or '.join(map(str, paths))}; {advice}")
