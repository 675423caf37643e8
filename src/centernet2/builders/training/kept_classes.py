"""Add classes to a detector and keep its own (--keep-classes).

The new data do not label the kept classes: the old detector detects them in the new images. What it
is sure of becomes an object of the training data. What it is less sure of becomes an uncertain
object: it is of this class or background. All else is background.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from centernet2 import distributed
from centernet2.builders.data.class_matching import MatchedData
from centernet2.builders.detector.initial_weights import find_weights
from centernet2.builders.detector.loading import config_of, load_for_inference
from centernet2.builders.evaluation.evaluator import score_matched
from centernet2.builders.training.train_command import TrainCommand
from centernet2.checkpoint import read_weights
from centernet2.config import Config, ConfigError
from centernet2.data import (
    DetectionDataset,
    class_list,
    join_classes,
    with_objects,
    with_unlabelled_classes,
)
from centernet2.data.annotation_masks import PackedMasks, pack_masks
from centernet2.data.readers.segmentations import read_segmentation
from centernet2.ops.box_arrays import box_iou_matrix, xywh_to_xyxy
from centernet2.ops.nms import greedy_nms
from centernet2.structures import BoolArray, FloatArray, RunLengths, StrPath
from centernet2.zoo import ZOO_PREFIX, zoo_model

logger = logging.getLogger(__name__)

SAME_OBJECT = 0.6  # IoU from which two boxes are one object, whatever their classes


def class_names_to_keep(weights: StrPath | None) -> tuple[str, ...]:
    """Return the classes of initial weights; ConfigError without weights or names."""
    if not weights:
        raise ConfigError(
            "--keep-classes keeps the classes of a detector, and none is given; name its run or "
            "its weights with --from"
        )
    if str(weights).startswith(ZOO_PREFIX):
        names = zoo_model(str(weights)).class_names
    else:
        checkpoint = read_weights(find_weights(weights)).checkpoint
        names = () if checkpoint is None else checkpoint.info.class_names
    if not names:
        raise ConfigError(
            f"{weights} does not name its classes, which --keep-classes matches by name; give a "
            "checkpoint of centernet2 or a published model"
        )
    return names


def with_kept_classes(train_set: DetectionDataset, config: Config) -> DetectionDataset:
    """Number the new classes of the data behind those that are kept."""
    kept = config.datasets.kept_classes
    new = join_classes(train_set.class_names, kept).added
    if not new:
        raise ConfigError(
            f"{train_set.name} has {class_list(train_set.class_names)}, and the initial weights "
            "have all of them, so there is no class to add; leave --keep-classes out"
        )
    return with_unlabelled_classes(train_set, [*kept, *new])


def label_kept_classes(
    train_set: DetectionDataset, config: Config, command: TrainCommand
) -> DetectionDataset:
    """Add objects of unlabelled kept classes, detected by the initial weights.

    With KEPT_SCORES of 1 nothing is detected, and these classes stay unknown in all places.

    Raises:
        ConfigError: the initial weights lack a class to keep.
    """
    low, high = config.datasets.kept_scores
    kept, weights = config.datasets.kept_classes, command.weights or config.model.weights
    if not kept or train_set.labelled is None or train_set.labelled.all() or low == 1:
        return train_set
    names = class_names_to_keep(weights)
    if lacking := join_classes(kept, names).added:
        raise ConfigError(
            f"{weights} has {class_list(names)}, but not {class_list(lacking)} of "
            "DATASETS.KEPT_CLASSES; give the weights that the run started from with --from"
        )
    detections, masks = _detect(train_set, config, command, str(weights))
    images, labels = detections[:, 0].astype(np.int64), detections[:, 6].astype(np.int64)
    sources = np.array([train_set.source(i) for i in images.tolist()], dtype=np.int64)
    wanted = (detections[:, 5] >= low) & ~train_set.labelled[sources, labels]
    wanted[wanted] = _are_distinct(train_set, detections[wanted])
    uncertain = (detections[:, 5] < high)[wanted]
    logger.info(
        "%d objects of the kept classes are taken from the detections of %s, and %d more are "
        "uncertain", (~uncertain).sum(), weights, uncertain.sum(),
    )  # fmt: skip
    known = train_set.labelled.copy()
    known[:, join_classes(kept, train_set.class_names).labels] = True
    return with_objects(
        replace(train_set, labelled=known),
        images[wanted],
        detections[wanted, 1:5],
        labels[wanted],
        uncertain=uncertain,
        masks=None if masks is None else masks.take(np.flatnonzero(wanted)),
    )


def _detect(
    train_set: DetectionDataset, config: Config, command: TrainCommand, weights: str
) -> tuple[FloatArray, PackedMasks | None]:
    """Detect with the initial weights.

    Returns:
        Detections [D, 7]: image, x, y, width, height, score, label; their masks, if the data set
        has masks.
    """
    model = load_for_inference(weights, device=command.device)
    with_masks = train_set.masks is not None
    if with_masks and not model.predicts_masks:
        raise ConfigError(
            f"{weights} predicts no masks, so the kept classes would have none to learn; set "
            "MODEL.MASK_ON False and leave INPUT.COPY_PASTE out, or give a detector with masks"
        )
    logger.info("detecting the kept classes in %d images with %s", len(train_set), weights)
    options = config_of(model.info)
    options = options.replace({"DATALOADER.NUM_WORKERS": config.loader.num_workers})
    label_map = join_classes(model.info.class_names, train_set.class_names).labels
    matched = MatchedData(train_set, torch.from_numpy(label_map), ())
    scored = score_matched(model, matched, options, None)
    results, runs = distributed.gather_objects((scored.results, scored.masks))[0]
    return results, _packed(runs or ()) if with_masks else None


def _packed(runs: Sequence[RunLengths]) -> PackedMasks:
    """Return the masks of detections in the form of a data set's."""
    read = [read_segmentation(each, (each["size"][0], each["size"][1])) for each in runs]
    return pack_masks([each.kind for each in read], [each.content for each in read])


def _are_distinct(train_set: DetectionDataset, detections: FloatArray) -> BoolArray:
    """Which detections [D, 7] are on no labelled object, nor on a better detection."""
    distinct = np.zeros(len(detections), dtype=bool)
    boxes = xywh_to_xyxy(detections[:, 1:5])
    for image in np.unique(detections[:, 0]).astype(int).tolist():
        rows = np.flatnonzero(detections[:, 0] == image)
        rows = rows[np.argsort(-detections[rows, 5], kind="stable")]
        labelled = xywh_to_xyxy(train_set.xywh[train_set.rows(image)])
        iou = box_iou_matrix(boxes[rows], labelled).max(axis=1, initial=0)
        rows = rows[iou < SAME_OBJECT]
        distinct[rows] = greedy_nms(torch.from_numpy(boxes[rows]), None, SAME_OBJECT).numpy()
    return distinct
