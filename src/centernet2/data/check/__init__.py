"""Find the problems of a data set, and write a repaired copy."""

from centernet2.data.check.corrections import Correction, read_accepted, require_undecided
from centernet2.data.check.examination import Examination, ExaminedSplit, examine_dataset
from centernet2.data.check.images import check_across, check_image_files, read_image_files
from centernet2.data.check.label_errors import (
    LabelError,
    LabelView,
    find_label_errors,
    share_of_agreement,
)
from centernet2.data.check.observations import check_classes, check_objects
from centernet2.data.check.repair import (
    list_of_changes,
    repaired_content,
    repaired_files,
    write_repaired,
)
from centernet2.data.check.suggestions import suggestion_records
from centernet2.data.findings import MAX_EXAMPLES, Finding, ProblemExample, Xywh, findings_json

__all__ = [
    "MAX_EXAMPLES",
    "Correction",
    "Examination",
    "ExaminedSplit",
    "Finding",
    "LabelError",
    "LabelView",
    "ProblemExample",
    "Xywh",
    "check_across",
    "check_classes",
    "check_image_files",
    "check_objects",
    "examine_dataset",
    "find_label_errors",
    "findings_json",
    "list_of_changes",
    "read_accepted",
    "read_image_files",
    "repaired_content",
    "repaired_files",
    "require_undecided",
    "share_of_agreement",
    "suggestion_records",
    "write_repaired",
]
