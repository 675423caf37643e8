"""Joining of two lists of classes by their names."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from centernet2.data.dataset import DetectionDataset, offsets_of

SHOWN_NAMES = 5  # of a longer list


class ClassJoin(NamedTuple):
    """Where the classes of one list are in another one."""

    labels: npt.NDArray[np.int64]  # [C] label in the other list; -1: it lacks the class
    missing: tuple[str, ...]  # classes of the other list that this one lacks
    added: tuple[str, ...]  # classes that the other list lacks


def join_classes(names: Sequence[str], others: Sequence[str]) -> ClassJoin:
    """Join the classes `names` to the classes `others` by their names."""
    label_of = {name: label for label, name in enumerate(others)}
    return ClassJoin(
        np.array([label_of.get(name, -1) for name in names], dtype=np.int64),
        tuple(name for name in others if name not in names),
        tuple(name for name in names if name not in label_of),
    )


def shown(names: Sequence[str]) -> str:
    """List class names for a message; only the first ones of many."""
    first = ", ".join(names[:SHOWN_NAMES])
    return first if len(names) <= SHOWN_NAMES else f"{first} and {len(names) - SHOWN_NAMES} more"


def without_classes(dataset: DetectionDataset, names: Sequence[str]) -> DetectionDataset:
    """Leave out some classes with their objects; the images stay."""
    kept = [label for label, name in enumerate(dataset.class_names) if name not in names]
    label = np.full(len(dataset.class_names), -1, dtype=dataset.labels.dtype)
    label[kept] = np.arange(len(kept))
    rows = np.flatnonzero(label[dataset.labels] >= 0)
    image = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))[rows]
    return replace(
        dataset,
        class_names=tuple(dataset.class_names[i] for i in kept),
        category_ids=tuple(dataset.category_ids[i] for i in kept),
        frequencies=tuple(dataset.frequencies[i] for i in kept) if dataset.frequencies else (),
        source_category_ids=tuple(
            tuple(ids[i] for i in kept) for ids in dataset.source_category_ids
        ),
        offsets=offsets_of(np.bincount(image, minlength=len(dataset))),
        xywh=dataset.xywh[rows],
        labels=label[dataset.labels[rows]],
        areas=dataset.areas[rows],
        crowd=dataset.crowd[rows],
        masks=None if dataset.masks is None else dataset.masks.take(rows),
        federated=None if dataset.federated is None else dataset.federated.relabeled(label),
    )
