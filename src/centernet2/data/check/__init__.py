"""Find the problems of a data set, and write a repaired copy."""

from centernet2.data.check.examination import Examination, ExaminedSplit, examine_dataset
from centernet2.data.check.images import check_across, check_image_files, read_image_files
from centernet2.data.check.observations import check_classes, check_objects
from centernet2.data.check.repair import (
    list_of_changes,
    repaired_content,
    repaired_files,
    write_repaired,
)
from centernet2.data.findings import (
    MAX_EXAMPLES,
    Finding,
    ProblemExample,
    Xywh,
    findings_json,
)

__all__ = [
    "MAX_EXAMPLES",
    "Examination",
    "ExaminedSplit",
    "Finding",
    "ProblemExample",
    "Xywh",
    "check_across",
    "check_classes",
    "check_image_files",
    "check_objects",
    "examine_dataset",
    "findings_json",
    "list_of_changes",
    "read_image_files",
    "repaired_content",
    "repaired_files",
    "write_repaired",
]
