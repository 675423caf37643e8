"""Data sets whose classes are renamed, merged or left out."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from centernet2.data.class_names import clean_name
from centernet2.data.dataset import BOX_COLUMNS, DetectionDataset
from centernet2.data.sharing import offsets_of

logger = logging.getLogger(__name__)


def rename_classes(dataset: DetectionDataset, class_map: Mapping[str, str]) -> DetectionDataset:
    """Rename classes; those that get one name become one class.

    All are renamed at once: {"a": "b", "b": "a"} exchanges two names. A merged class has the id of
    the class that already had its name, or else of the first one.
    """
    own = dataset.class_names
    ids = zip(own, dataset.category_ids, strict=True)
    renamed = tuple((name, number, class_map[name]) for name, number in ids if name in class_map)
    if not renamed:
        return dataset
    names = [class_map.get(name, name) for name in own]
    kept = tuple(dict.fromkeys(names))
    if len(kept) < len(own) and dataset.federated is not None:
        raise ValueError(
            f"{dataset.name} names the classes that were annotated in each image, as LVIS does, so "
            "its classes cannot be merged; give each class another name in --class-map"
        )
    label_of = {name: label for label, name in enumerate(kept)}
    label = np.array([label_of[name] for name in names], dtype=np.int32)
    unchanged = {name: i for i, name in enumerate(own) if name not in class_map}
    first = [unchanged.get(name, names.index(name)) for name in kept]
    logger.info(
        "%s: classes are renamed: %s",
        dataset.name, ", ".join(f"'{old}' to '{new}'" for old, _, new in renamed),
    )  # fmt: skip
    return replace(dataset.relabeled(kept, first, label), renamed=renamed)


def category_names(content: dict[str, Any]) -> list[str]:
    """Return the names of those categories in COCO records that have one."""
    return [name for name, _ in _named_categories(content)]


def rename_categories(content: dict[str, Any], class_map: Mapping[str, str]) -> dict[str, Any]:
    """Rename the categories of records in COCO's format, as `rename_classes` does.

    Records that are no categories or annotations stay as they are, for who reports them.
    """
    named = _named_categories(content)
    known = {name: each.get("id") for name, each in named if name not in class_map}
    id_of: dict[str, Any] = {}  # of the classes after renaming
    ids: dict[str, Any] = {}  # id of a category, as text -> id of the class that it becomes
    for name, each in named:
        if name in class_map:
            new, number = class_map[name], each.get("id")
            ids[str(number)] = id_of.setdefault(new, known.get(new, number))
    if not ids:
        return content

    def renamed(record: Any) -> Any:
        name = _name(record)
        if name not in class_map:
            return record
        new = class_map[name]
        return {**record, "name": new} if id_of[new] == record.get("id") else None

    def moved(record: Any) -> Any:
        number = str(record.get("category_id")) if isinstance(record, dict) else ""
        return {**record, "category_id": ids[number]} if number in ids else record

    categories = [new for each in content["categories"] if (new := renamed(each)) is not None]
    annotations = content.get("annotations")
    if isinstance(annotations, list):
        annotations = [moved(each) for each in annotations]
    return {**content, "categories": categories, "annotations": annotations}


def _name(category: Any) -> str:
    """Return the name of a category as the COCO reader cleans it; empty: none."""
    name = category.get("name") if isinstance(category, dict) else None
    return clean_name(str(name)) if type(name) in (int, float, str) else ""


def _named_categories(content: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the categories that have a name, each behind its name."""
    records = content.get("categories")
    categories = records if isinstance(records, list) else []
    return [(name, each) for each in categories if (name := _name(each))]


def without_classes(dataset: DetectionDataset, names: Sequence[str]) -> DetectionDataset:
    """Leave out some classes with their objects; the images stay."""
    kept = [label for label, name in enumerate(dataset.class_names) if name not in names]
    label = np.full(len(dataset.class_names), -1, dtype=np.int32)
    label[kept] = np.arange(len(kept))
    rows = np.flatnonzero(label[dataset.labels] >= 0)
    rest = replace(
        dataset,
        **{column: getattr(dataset, column)[rows] for column in BOX_COLUMNS},
        masks=None if dataset.masks is None else dataset.masks.take(rows),
        offsets=offsets_of(np.bincount(dataset.image_of_box[rows], minlength=len(dataset))),
    )
    return rest.relabeled([dataset.class_names[i] for i in kept], kept, label)
