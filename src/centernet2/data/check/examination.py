"""Check all annotations and all images of a data set."""

from pathlib import Path
from typing import NamedTuple

from centernet2.data.check.annotations import check_annotations, check_classes
from centernet2.data.check.images import check_across, check_images, read_images
from centernet2.data.check.usable_records import without_incomplete
from centernet2.data.findings import ACTIONS, Finding
from centernet2.data.image_check import ImageFacts
from centernet2.data.readers.catalog import find_dataset
from centernet2.data.readers.json_records import Record
from centernet2.data.readers.layouts import read_split_files


class ExaminedSplit(NamedTuple):
    """The records of a split in COCO's format, and its image files."""

    content: Record
    folder: Path
    images: list[tuple[Record, ImageFacts]]


class Examination(NamedTuple):
    """A data set and its problems."""

    splits: dict[str, ExaminedSplit]
    findings: list[Finding]

    @property
    def is_clean(self) -> bool:
        """Whether there are no problems; notes do not count as problems."""
        return all(finding.action == "note" for finding in self.findings)


def examine_dataset(data: Path, data_path: Path | None = None) -> Examination:
    """Check a data set in any layout, or a named one below `data_path`."""
    splits: dict[str, ExaminedSplit] = {}
    findings: list[Finding] = []
    for name, files in find_dataset(data, data_path).items():
        content, folder, _ = read_split_files(files, name)
        if not isinstance(content.get("images"), list) or not content["images"]:
            raise ValueError(
                f"{files.annotations}: the list 'images' is missing or empty; "
                "export the data set again"
            )
        records = without_incomplete(content)["images"]
        images = list(read_images(records, folder))
        splits[name] = ExaminedSplit(content, folder, images)
        findings += [*check_annotations(content, name), *check_images(images, name)]
    findings += check_classes({name: split.content for name, split in splits.items()})
    findings += check_across({name: split.images for name, split in splits.items()})
    return Examination(splits, sorted(findings, key=lambda each: ACTIONS.index(each.action)))
