"""Data sets that label only some classes of a detector; the others are unknown."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from centernet2.data.annotation_masks import PackedMasks, join_masks
from centernet2.data.class_names import clean_name, join_classes
from centernet2.data.dataset import BOX_COLUMNS, DetectionDataset, concatenate
from centernet2.data.federated import FederatedLabels, pack_federated
from centernet2.data.sharing import offsets_of
from centernet2.structures import BoolArray, FloatArray, IntArray, UserId


def with_unlabelled_classes(
    dataset: DetectionDataset, class_names: Sequence[str]
) -> DetectionDataset:
    """Renumber the classes by `class_names`; the data do not label the added ones.

    A class that is added has its name as id.
    """
    own = join_classes(dataset.class_names, class_names).labels.astype(np.int32)

    def extended(ids: Sequence[UserId]) -> tuple[UserId, ...]:
        new: list[UserId] = [*class_names]
        for label, number in zip(own.tolist(), ids, strict=True):
            new[label] = number
        return tuple(new)

    before = dataset.labelled
    if before is None:
        before = np.ones((max(1, len(dataset.source_names)), len(own)), dtype=bool)
    labelled = np.zeros((len(before), len(class_names)), dtype=bool)
    labelled[:, own] = before
    return replace(
        dataset,
        class_names=tuple(class_names),
        category_ids=extended(dataset.category_ids),
        source_category_ids=tuple(extended(ids) for ids in dataset.source_category_ids),
        frequencies=(),
        labels=own[dataset.labels],
        labelled=labelled,
        federated=None if dataset.federated is None else dataset.federated.relabeled(own),
    )


def concatenate_partial(datasets: Sequence[DetectionDataset]) -> DetectionDataset:
    """Join data sets that label different classes, which are matched by name."""
    names = dict.fromkeys(clean_name(name) for each in datasets for name in each.class_names)
    return concatenate([with_unlabelled_classes(each, [*names]) for each in datasets])


def annotated_classes(dataset: DetectionDataset) -> FederatedLabels:
    """Return the classes that each image is known to lack, to evaluate as in LVIS."""
    if dataset.federated is not None:
        return dataset.federated
    everything = np.ones((1, len(dataset.class_names)), dtype=bool)
    labelled = everything if dataset.labelled is None else dataset.labelled
    negative = []
    for i in range(len(dataset)):
        classes = np.flatnonzero(labelled[dataset.source(i)])
        negative.append(np.setdiff1d(classes, dataset.labels[dataset.rows(i)]).tolist())
    return pack_federated(negative, [[]] * len(dataset))


def with_objects(
    dataset: DetectionDataset,
    images: IntArray,
    xywh: FloatArray,
    labels: IntArray,
    *,
    uncertain: BoolArray,
    masks: PackedMasks | None = None,
) -> DetectionDataset:
    """Add P objects to a data set.

    Args:
        images: [P] positions of their images.
        xywh: [P, 4] in pixels of the image file.
        labels: [P].
        uncertain: [P] perhaps an object: it becomes a crowd.
        masks: of the P objects, if those of the data were read.
    """
    added = {
        "xywh": xywh,
        "labels": labels.astype(np.int32),
        "areas": xywh[:, 2] * xywh[:, 3],
        "crowd": uncertain,
    }
    image = np.concatenate([dataset.image_of_box, images])
    order = np.argsort(image, kind="stable")
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(dataset, name), added[name]])[order] for name in BOX_COLUMNS
    }
    offsets = offsets_of(np.bincount(image, minlength=len(dataset)))
    both = [each for each in (dataset.masks, masks) if each is not None]
    joined = join_masks(both).take(order) if both else None
    return replace(dataset, **columns, masks=joined, offsets=offsets)
