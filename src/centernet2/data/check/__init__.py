"""Find the problems of a data set, and write a repaired copy."""

from centernet2.data.check.annotations import check_annotations, check_classes
from centernet2.data.check.examination import Examination, ExaminedSplit, examine_dataset
from centernet2.data.check.images import check_across, check_images, read_images
from centernet2.data.check.repair import repair, write_repaired
from centernet2.data.check.usable_records import (
    box_of,
    clip_to_image,
    recorded_size,
    without_incomplete,
)
from centernet2.data.findings import Finding, ProblemExample, Xywh, findings_json

__all__ = [
    "Examination",
    "ExaminedSplit",
    "Finding",
    "ProblemExample",
    "Xywh",
    "box_of",
    "check_across",
    "check_annotations",
    "check_classes",
    "check_images",
    "clip_to_image",
    "examine_dataset",
    "findings_json",
    "read_images",
    "recorded_size",
    "repair",
    "without_incomplete",
    "write_repaired",
]
