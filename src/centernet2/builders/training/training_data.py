"""The data of a training run: both splits, and what is odd about them."""

import logging
from functools import partial

import numpy as np

from centernet2.builders.data.class_map import parse_class_map, require_renamed
from centernet2.builders.data.class_matching import match_classes
from centernet2.builders.data.data_pipeline import needs_masks
from centernet2.builders.training.kept_classes import with_kept_classes
from centernet2.config import CLASS_MAP_KEY, Config
from centernet2.data import (
    DetectionDataset,
    class_list,
    require_ground_truth,
    require_masks,
    require_objects,
    similar_names,
    without_empty_images,
)
from centernet2.data.readers import load_dataset
from centernet2.structures import StrPath

logger = logging.getLogger(__name__)

TrainingSets = tuple[DetectionDataset, DetectionDataset]  # for training and for validation


def find_training_data(
    config: Config, data: StrPath | None, data_path: StrPath | None
) -> TrainingSets:
    """Load the training set and the validation set, whose classes are matched by name."""
    class_map = parse_class_map(config.datasets.class_map)
    find = partial(
        load_dataset,
        data=data,
        data_path=data_path,
        val_fraction=config.datasets.val_fraction,
        val_seed=config.datasets.val_seed,
        class_map=class_map,
        partial_labels=config.datasets.partial_labels,
    )
    train_set = find(names=config.datasets.train, split="train", masks=needs_masks(config))
    val_set = find(names=config.datasets.test, split="val", masks=config.model.mask_on)
    require_renamed(class_map, (train_set, val_set), f"--class-map ({CLASS_MAP_KEY})")
    _name_empty_classes(train_set)
    if config.datasets.kept_classes:
        train_set = with_kept_classes(train_set, config)
    owner = "the detector" if config.datasets.kept_classes else train_set.name
    for note in match_classes(train_set.class_names, val_set, owner=owner).notes:
        logger.warning("%s", note)
    _name_similar_classes(train_set)
    _name_shared_images(train_set, val_set)
    if needs_masks(config):
        require_masks(train_set)
    require_objects(train_set)
    _count_crowds(train_set)
    if config.run.eval_period >= 0:
        require_ground_truth(val_set)
    return (without_empty_images(train_set) if config.loader.filter_empty else train_set), val_set


def _name_similar_classes(train_set: DetectionDataset) -> None:
    """Log classes that may be meant as one, as of data that are joined."""
    for first, other in similar_names(train_set.class_names):
        logger.warning(
            "the classes %s and %s of %s differ in upper and lower case alone; --class-map "
            "%s=%s makes them one", first, other, train_set.name, other, first,
        )  # fmt: skip


def _name_empty_classes(train_set: DetectionDataset) -> None:
    """Log classes without an object.

    Exports of Roboflow list the name of the group as a class.
    """
    counts = np.bincount(train_set.labels[~train_set.crowd], minlength=len(train_set.class_names))
    empty = [train_set.class_names[label] for label in np.flatnonzero(counts == 0).tolist()]
    if empty:
        logger.warning(
            "%s has no object of %s; the detector cannot learn %s",
            train_set.name, class_list(empty), "it" if len(empty) == 1 else "them",
        )  # fmt: skip


def _count_crowds(train_set: DetectionDataset) -> None:
    """Log how many objects are not trained on; some tools mark each mask as a crowd."""
    crowds, objects = int(train_set.crowd.sum()), len(train_set.crowd)
    if crowds and train_set.labelled is None:  # else they are uncertain objects
        logger.log(
            logging.WARNING if 2 * crowds >= objects else logging.INFO,
            "%s: %d of %d objects are crowds (iscrowd 1, or difficult in Pascal VOC) and left out",
            train_set.name, crowds, objects,
        )  # fmt: skip


def _name_shared_images(train_set: DetectionDataset, val_set: DetectionDataset) -> None:
    """Log how many images are in both sets, by their files below one folder."""
    if train_set.folder == val_set.folder:
        count = int(np.isin(val_set.files, train_set.files).sum())
        if count:
            logger.warning(
                "%d of %d validation images are training images, too: metrics on them are too good",
                count, len(val_set),
            )  # fmt: skip
