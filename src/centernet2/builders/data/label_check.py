"""Let a detector judge the labels of a data set."""

import logging
from collections.abc import Collection, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from centernet2.builders.data.data_pipeline import build_test_transform
from centernet2.builders.detector.loading import config_of
from centernet2.data import (
    DetectionDataset,
    LoadedImage,
    class_list,
    eval_batches,
    join_classes,
    shown,
)
from centernet2.data.check import (
    LabelError,
    LabelView,
    find_label_errors,
    share_of_agreement,
)
from centernet2.models.detector import Detector
from centernet2.models.judging import Judgement, judge_boxes
from centernet2.models.postprocess import to_original
from centernet2.models.preprocess import size_of
from centernet2.ops.boxes import scale_boxes
from centernet2.progress import with_progress
from centernet2.structures import Batch, FloatArray, IntArray

LEAST_AGREEMENT = 0.7  # share of the labels, below which a detector is warned of
logger = logging.getLogger(__name__)


def suspect_labels(
    model: Detector,
    dataset: DetectionDataset,
    *,
    split: str,
    owner: str,
    skip: Collection[int] = (),
) -> list[LabelError]:
    """Let a detector judge the labels of a split; crowds are no labels.

    Images that cannot be read are left out.

    Args:
        owner: what messages call the detector.
        skip: indices of images to leave out.

    Raises:
        ValueError: the detector has one stage or no class names, or lacks a class of the labels.
    """
    labels = label_map(model, dataset, owner)
    options = config_of(model.info)
    batches = eval_batches(
        dataset,
        build_test_transform(options),
        batch_size=options.run.test_batch_size,
        num_workers=options.loader.num_workers,
        rank=0,
        world_size=1,
        size_divisibility=model.preprocess.size_divisibility,
        skip=skip,
        on_failure=_log_failure,
    )
    seen = with_progress(
        batches, ("judging", "judged"), total=len(dataset) - len(skip), images_in=_count_images
    )
    views = [view for batch in seen for view in _judge(model, dataset, batch, labels)]
    share = share_of_agreement(views)
    if share < LEAST_AGREEMENT:
        logger.warning(
            "%s agrees with the class of %.0f %% of the labels of %s: its suspicions say little; "
            "give a better detector, or more --minutes",
            owner, 100 * share, dataset.name,
        )  # fmt: skip
    return find_label_errors(views, dataset.class_names, split)


def label_map(model: Detector, dataset: DetectionDataset, owner: str) -> IntArray:
    """Return the label in the data of each class of a detector; -1: the data lack it.

    Raises:
        ValueError: the detector has no class names, or lacks a class of the labels.
    """
    names = model.info.class_names
    if not names:
        raise ValueError(f"{owner} has no class names, by which its classes are those of the data")
    join = join_classes(names, dataset.class_names)
    used = {dataset.class_names[label] for label in np.unique(dataset.labels)}
    missing = [name for name in join.missing if name in used]
    if missing:
        raise ValueError(
            f"{owner} has {class_list(names)} and cannot judge {shown(missing)} of "
            f"{dataset.name}; give a detector of all classes, or join names with --class-map "
            "OLD=NEW, where OLD is the name in the data"
        )
    return join.labels


def _log_failure(loaded: LoadedImage) -> None:
    logger.warning("%s (the image is not judged)", loaded.failures[0])


def _count_images(batch: Batch) -> int:
    return len(batch.images)


def _judge(
    model: Detector, dataset: DetectionDataset, batch: Batch, labels: IntArray
) -> Iterator[LabelView]:
    device = model.preprocess.mean.device
    rows = [_label_rows(dataset, i) for i in batch.indices]
    given = [
        scale_boxes(torch.from_numpy(dataset.boxes(own)).to(device), size, size_of(image))
        for own, size, image in zip(rows, batch.sizes, batch.images, strict=True)
    ]
    judgements = judge_boxes(model, batch.images, given)
    columns = zip(batch.indices, rows, judgements, batch.images, batch.sizes, strict=True)
    for i, own, judgement, image, size in columns:
        yield _view(dataset, i, own, _in_file(judgement, size_of(image), size), labels)


def _label_rows(dataset: DetectionDataset, i: int) -> IntArray:
    """Return the rows of the labels of an image, without crowds."""
    first, end = dataset.offsets[i : i + 2].tolist()
    rows: IntArray = first + np.flatnonzero(~dataset.crowd[first:end])
    return rows


def _in_file(judgement: Judgement, from_size: tuple[int, int], size: tuple[int, int]) -> Judgement:
    """Bring boxes from the model's input to the image file."""
    boxes = scale_boxes(judgement.boxes, from_size, size)
    return judgement._replace(
        boxes=boxes, detections=to_original(judgement.detections, from_size, size)[0]
    )


def _view(
    dataset: DetectionDataset, i: int, rows: IntArray, judgement: Judgement, labels: IntArray
) -> LabelView:
    found = judgement.detections
    found_labels = labels[_array(found["labels"]).astype(np.int64)]
    found_boxes = _array(found["boxes"])
    countable = _countable(dataset, i, found_boxes, found_labels)
    probabilities = np.zeros((len(rows), len(dataset.class_names)))
    probabilities[:, labels[labels >= 0]] = _array(judgement.probabilities)[:, labels >= 0]
    return LabelView(
        i,
        rows,
        dataset.labels[rows].astype(np.int64),
        dataset.boxes(rows).astype(np.float64),
        _array(judgement.boxes),
        probabilities,
        found_boxes[countable],
        _array(found["scores"])[countable],
        found_labels[countable],
    )


def _array(tensor: Tensor) -> FloatArray:
    return tensor.double().cpu().numpy()


def _countable(
    dataset: DetectionDataset, i: int, boxes: FloatArray, labels: IntArray
) -> NDArray[np.bool_]:
    """Whether each detection would need a label: outside crowds, of a known class.

    Of data sets that annotate some classes of each image, as LVIS does, only those count.
    """
    rows = np.arange(*dataset.offsets[i : i + 2])
    crowds = dataset.boxes(rows[dataset.crowd[rows]])[:, None]  # [K, 1, 4]
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2  # [D, 2]
    inside = (centers >= crowds[..., :2]) & (centers <= crowds[..., 2:])  # [K, D, 2]
    known = (labels >= 0) & ~inside.all(axis=2).any(axis=0)
    if dataset.federated is not None:
        present = set(dataset.labels[rows].tolist()).union(dataset.federated.negative_labels(i))
        whole = present.difference(dataset.federated.not_exhaustive_labels(i))
        known &= np.isin(labels, list(whole))
    return known
