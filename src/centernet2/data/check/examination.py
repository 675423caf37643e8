"""Check all annotations and all images of a data set."""

from collections.abc import Callable
from typing import NamedTuple

from centernet2.data.check.images import check_across, check_image_files, read_image_files
from centernet2.data.check.observations import (
    check_classes,
    check_objects,
    check_splits,
    without_masks,
    without_training,
)
from centernet2.data.dataset import DetectionDataset
from centernet2.data.findings import (
    ACTIONS,
    MAX_EXAMPLES,
    Finding,
    FindingLog,
    ProblemExample,
    raise_refusal,
)
from centernet2.data.image_check import ImageFacts
from centernet2.data.readers.catalog import find_dataset
from centernet2.data.readers.coco import ReadRecords, read_records
from centernet2.data.readers.json_records import Record
from centernet2.data.readers.layouts import SplitFiles, read_split_files
from centernet2.structures import StrPath


class ExaminedSplit(NamedTuple):
    """The records of a split as training reads them, and its image files."""

    content: Record
    records: ReadRecords
    images: list[ImageFacts]  # of dataset

    @property
    def dataset(self) -> DetectionDataset:
        """What training would use, with masks."""
        return self.records.dataset


class Examination(NamedTuple):
    """A data set and its problems."""

    splits: dict[str, ExaminedSplit]
    findings: list[Finding]

    @property
    def is_clean(self) -> bool:
        """Whether there are no problems; notes do not count as problems."""
        return all(finding.action == "note" for finding in self.findings)


def examine_dataset(
    data: StrPath,
    data_path: StrPath | None = None,
    *,
    rename: Callable[[Record], Record] = lambda content: content,
    max_examples: int | None = MAX_EXAMPLES,
) -> Examination:
    """Check a data set in any layout, or a named one below `data_path`.

    Args:
        rename: renames the categories of each split before it is checked.
        max_examples: of each finding about annotations; None: all occurrences.
    """
    splits: dict[str, ExaminedSplit] = {}
    findings: list[Finding] = []
    found = find_dataset(data, data_path)
    for name, files in found.items():
        try:
            splits[name], of_split = _examine_split(files, name, rename, max_examples)
        except (ValueError, OSError) as error:
            if name != "test" or len(found) == 1:
                raise
            of_split = [_unreadable(name, error)]
        findings += map(without_training, of_split) if name == "test" else of_split
    findings += check_splits(list(splits))
    findings += check_classes({name: split.dataset.class_names for name, split in splits.items()})
    findings += check_across(
        {name: (split.records.images.files, split.images) for name, split in splits.items()}
    )
    return Examination(splits, sorted(findings, key=lambda each: ACTIONS.index(each.action)))


def _unreadable(split: str, error: Exception) -> Finding:
    """Make a finding of the error that ends the reading of a split."""
    log = FindingLog(split)
    log.add(
        "split that cannot be read", "refuses", "correct or remove it", [str(error)],
        ProblemExample,
    )  # fmt: skip
    return log.findings[0]


def _examine_split(
    files: SplitFiles, name: str, rename: Callable[[Record], Record], max_examples: int | None
) -> tuple[ExaminedSplit, list[Finding]]:
    content, folder, findings = read_split_files(files, name)
    content = rename(content)
    records = read_records(content, folder, name=name, masks=True, max_examples=max_examples)
    dataset = records.dataset
    if not len(dataset):  # nothing is left that could be shown
        raise_refusal(files.annotations, [*findings, *dataset.findings])
    images = list(read_image_files(dataset))
    return ExaminedSplit(content, records, images), [
        *findings,
        *dataset.findings,
        *map(without_masks, records.mask_findings),
        *check_objects(records, name),
        *check_image_files(dataset, images, name),
    ]
