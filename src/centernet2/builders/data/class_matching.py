"""Matching of a detector's classes to those of a data set, by their names."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from centernet2.config import ConfigError
from centernet2.data import DetectionDataset, class_list, join_classes, shown, without_classes
from centernet2.models.detector import Detector
from centernet2.spelling import counted

RENAMING = "--class-map OLD=NEW"
logger = logging.getLogger(__name__)


class MatchedData(NamedTuple):
    """A data set, and where a detector's classes are in it."""

    dataset: DetectionDataset  # with its own labels
    label_map: Tensor | None  # [C] the detector's label -> the data set's, or -1; None: the same
    notes: tuple[str, ...]  # sentences about classes that only one of them has


def match_detector(
    model: Detector,
    dataset: DetectionDataset,
    *,
    owner: str = "the detector",
    known_only: bool = False,
    renaming: str = RENAMING,
) -> MatchedData:
    """Match the classes of a detector; where it has no names, count them.

    Args:
        dataset, known_only, renaming: as of `match_classes`.
        owner: what the messages call the detector.
    """
    if names := model.info.class_names:
        return match_classes(names, dataset, owner=owner, known_only=known_only, renaming=renaming)
    head = model.proposal_generator.head
    known = head.num_classes if model.roi_heads is None else model.roi_heads.num_classes
    names = dataset.class_names
    if len(names) != known:
        raise ConfigError(
            f"the detector has {known} classes without names, but {dataset.name} has {len(names)} "
            f"({shown(names)}); evaluate it on data with the classes that it was trained on"
        )
    logger.info(
        "the detector has no class names: its classes are those of %s in their order", dataset.name
    )
    return MatchedData(dataset, None, ())


def match_classes(
    names: Sequence[str],
    dataset: DetectionDataset,
    *,
    owner: str,
    known_only: bool = False,
    renaming: str = RENAMING,
) -> MatchedData:
    """Match the classes `names` to those of a data set to evaluate on.

    Args:
        names: of the detector, by its label.
        dataset: keeps its own labels.
        owner: of these classes, for the messages.
        known_only: leave out the classes of the data set that the detector does not know.
        renaming: the option of the command that renames classes of the data.

    Raises:
        ValueError: no class is in both.
    """
    join = join_classes(names, dataset.class_names)
    if len(join.added) == len(names):
        raise ValueError(
            f"{dataset.name} has {class_list(dataset.class_names)}, and {owner} has "
            f"{class_list(names)}, but no name is in both; use the same names, or join them with "
            f"{renaming}, where OLD is the name in the data"
        )
    notes = []
    if join.added:
        notes.append(
            f"{dataset.name} lacks {counted(len(join.added), 'class')} of {owner}: "
            f"{shown(join.added)}; their detections are left out, since nothing says whether they "
            "are right"
        )
    if join.missing:
        labels = [dataset.class_names.index(name) for name in join.missing]
        objects = int(np.isin(dataset.labels, labels).sum())
        fate = (
            f"they and their {objects} objects are left out of all metrics"
            if known_only
            else f"their {objects} objects count as missed "
            "(`eval --known-classes-only` leaves them out)"
        )
        notes.append(
            f"{owner} lacks {counted(len(join.missing), 'class')} of {dataset.name}: "
            f"{shown(join.missing)}; {fate}"
        )
        if known_only:
            dataset = without_classes(dataset, join.missing)
            join = join_classes(names, dataset.class_names)
    if not notes and tuple(names) != tuple(dataset.class_names):
        logger.info("%s: its classes are matched to those of %s by name", dataset.name, owner)
    same = np.array_equal(join.labels, np.arange(len(dataset.class_names)))
    return MatchedData(dataset, None if same else torch.from_numpy(join.labels), tuple(notes))
