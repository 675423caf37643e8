"""Read COCO's JSON format into a packed index; findings name the wrong records."""

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from centernet2.data.dataset import DetectionDataset, pack_paths
from centernet2.data.findings import MAX_EXAMPLES, Finding, FindingLog, log_changes, raise_refusal
from centernet2.data.index import cached
from centernet2.data.readers.annotation_records import BoxColumns, read_boxes
from centernet2.data.readers.image_records import (
    ClassColumns,
    ImageColumns,
    federated,
    frequencies,
    read_classes,
    read_images,
)
from centernet2.data.readers.json_file import garbage_collection_off, read_json
from centernet2.data.readers.json_records import Record
from centernet2.data.readers.mask_records import read_masks
from centernet2.data.readers.repetitions import find_repetitions
from centernet2.data.shards import folder_of_shards, in_shards
from centernet2.data.sharing import offsets_of
from centernet2.data.user_ids import pack_ids

logger = logging.getLogger(__name__)


class ReadRecords(NamedTuple):
    """The records of a split that training would use, and findings from reading them."""

    dataset: DetectionDataset
    images: ImageColumns
    classes: ClassColumns
    boxes: BoxColumns
    mask_findings: tuple[Finding, ...]  # what training with masks does about them


def load_coco(
    annotations: Path, images: Path, *, name: str, masks: bool = False
) -> DetectionDataset:
    """Read a COCO JSON file, optionally with masks.

    Test sets are published without a list of annotations: their images have no objects.
    """

    def read() -> DetectionDataset:
        return pack_content(read_json(annotations), annotations, images, name=name, masks=masks)

    # the folder, too: images tell sizes that the file lacks
    dataset = cached([annotations], ["coco", name, masks, images], read)
    log_changes(annotations, dataset.findings)
    return replace(dataset, folder=Path(images), annotations=Path(annotations))


def load_coco_in_shards(
    annotations: Path, shards: Sequence[str], *, name: str, masks: bool = False
) -> DetectionDataset:
    """Read a COCO JSON file whose images are in tar files."""
    folder = Path(folder_of_shards(shards))

    def read() -> DetectionDataset:
        dataset = pack_content(read_json(annotations), annotations, folder, name=name, masks=masks)
        files = in_shards(list(map(os.fsdecode, dataset.files)), shards)
        return replace(dataset, files=pack_paths(list(files)))

    dataset = cached([annotations, *shards], ["shards", name, masks], read)
    log_changes(annotations, dataset.findings)
    return replace(dataset, folder=folder, annotations=Path(annotations))


def pack_content(
    content: Record,
    annotations: Path,
    images: Path,
    *,
    name: str,
    masks: bool,
    findings: Iterable[Finding] = (),
) -> DetectionDataset:
    """Pack records in COCO's format into an index, or refuse them.

    Args:
        annotations: file of the records, for messages.
        images: folder of the image files.
        findings: those of the reader that made the records.
    """
    read = read_records(content, images, name=name, masks=masks)
    found = (*findings, *read.dataset.findings, *(read.mask_findings if masks else ()))
    raise_refusal(annotations, found)
    dataset = replace(read.dataset, findings=found)
    logger.info(
        "%s: %d images, %d boxes, %d classes",
        annotations, len(dataset), len(dataset.labels), len(dataset.class_names),
    )  # fmt: skip
    return dataset


@garbage_collection_off()
def read_records(
    content: Record,
    folder: Path,
    *,
    name: str,
    masks: bool,
    max_examples: int | None = MAX_EXAMPLES,
) -> ReadRecords:
    """Read records in COCO's format; report and leave out what training cannot use.

    Args:
        folder: of the image files.
        name: of the data set, and split of the findings.
        masks: also read masks.
        max_examples: of each finding.
    """
    log = FindingLog(name, max_examples=max_examples)
    mask_log = FindingLog(name, max_examples=max_examples)
    classes = read_classes(content, log)
    images = read_images(content, folder, log)
    boxes = read_boxes(content, images, classes, log)
    find_repetitions(images, boxes, log)
    dataset = DetectionDataset(
        name=name,
        class_names=tuple(classes.names),
        category_ids=tuple(classes.ids),
        frequencies=frequencies(classes),
        folder=Path(folder),
        annotations=None,
        files=pack_paths(images.files),
        image_ids=pack_ids(images.ids),
        heights=images.sizes[:, 0].copy(),
        widths=images.sizes[:, 1].copy(),
        offsets=offsets_of(np.bincount(boxes.image, minlength=len(images.ids))),
        xywh=boxes.xywh,
        labels=boxes.labels.astype(np.int32),
        areas=boxes.areas,
        crowd=boxes.crowd,
        masks=read_masks(boxes, images, mask_log) if masks else None,
        federated=federated(images, classes),
        findings=tuple(log.findings),
    )
    return ReadRecords(dataset, images, classes, boxes, tuple(mask_log.findings))
