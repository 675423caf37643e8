"""The command `check`: what is wrong with a data set, and what training would do about it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from centernet2.files import write_atomic
from centernet2.jobs import Flag, PathArgument

if TYPE_CHECKING:
    from centernet2.data.check.annotations import Finding, Record
    from centernet2.data.check.images import Looked

logger = logging.getLogger(__name__)


def check(
    data: PathArgument,
    *,
    data_path: PathArgument | None = None,
    report: PathArgument | None = None,
    no_report: Flag = False,
    fix: PathArgument | None = None,
) -> Examination:
    """Check a data set: what is wrong, and what training would do about it.

    The exit code is 0 where nothing is wrong, 2 otherwise.

    Parameters
    ----------
    data
        Folder or annotation file in any layout, or the name of a data set, such as coco_2017.
    data_path
        The folder above a named data set.
    report
        Folder for a page with pictures, also as JSON; default: check_NAME.
    no_report
        Give the verdict alone.
    fix
        Write a repaired copy of the annotations there, and the list of changes beside it.
    """
    from centernet2.report.dataset_page import write_report

    source = Path(data)
    examination = examine(source, None if data_path is None else Path(data_path))
    if not no_report:
        folder = Path(report or f"check_{source.resolve().stem}")
        write_report(examination, folder, title=source.resolve().name)
        logger.info("report: %s", folder / "report.html")
    if fix is not None:
        for path, changes in write_repaired(examination.splits, Path(fix)).items():
            logger.info(
                "%s: %d changes, listed in %s", path, len(changes), path.with_suffix(".changes.txt")
            )
    return examination


class Split(NamedTuple):
    """The records of a split in COCO's format, and its image files."""

    content: Record
    folder: Path
    looked: list[tuple[Record, Looked]]


class Examination(NamedTuple):
    """A data set and what was found."""

    splits: dict[str, Split]
    findings: list[Finding]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong; notes are no faults."""
        return all(finding.action == "note" for finding in self.findings)


def examine(data: Path, data_path: Path | None = None) -> Examination:
    """Looks at every annotation and reads every image of a data set of any known layout or, below `data_path`, name."""
    from centernet2.data.check.annotations import check_annotations, without_incomplete
    from centernet2.data.check.images import check_across, check_images, look_at
    from centernet2.data.readers.catalog import find_sources
    from centernet2.data.readers.layouts import read_source

    splits: dict[str, Split] = {}
    findings: list[Finding] = []
    for name, source in find_sources(data, data_path).items():
        content, folder = read_source(source, name)
        if not isinstance(content.get("images"), list) or not content["images"]:
            raise ValueError(
                f"{source.annotations}: the list 'images' is missing or empty; export the data set again"
            )
        images = without_incomplete(content)["images"]
        looked = list(_with_progress(look_at(images, folder), len(images), name))
        splits[name] = Split(content, folder, looked)
        findings += [*check_annotations(content, name), *check_images(looked, name)]
    findings += check_across({name: split.looked for name, split in splits.items()})
    return Examination(splits, sorted(findings, key=lambda each: ORDER.index(each.action)))


ORDER = ("refuses", "drops", "repairs", "keeps", "note")


def _with_progress(
    pairs: Iterable[tuple[Record, Looked]], total: int, name: str
) -> Iterable[tuple[Record, Looked]]:
    from rich import get_console
    from rich.progress import track

    console = get_console()
    return track(
        pairs,
        f"reading images of {name}",
        total=total,
        console=console,
        disable=not console.is_interactive,
    )


def write_repaired(splits: Mapping[str, Split], output: Path) -> dict[Path, list[str]]:
    """Writes a repaired copy of every split's annotations in COCO's format, and the list of changes beside it.

    One split becomes `output` itself, several OUTPUT_train.json and so on. File names are relative to where the images
    are, which the copy names absolutely.

    Returns:
        {file: changes}.
    """
    from centernet2.data.check.annotations import repair

    written = {}
    for name, split in splits.items():
        path = (
            output if len(splits) == 1 else output.with_name(f"{output.stem}_{name}{output.suffix}")
        )
        content, changes = repair(split.content)
        unusable = {
            id(record): reason
            for record, seen in split.looked
            if (reason := _why_unusable(record, seen))
        }
        content, more = _without_images(content, unusable)
        folder = split.folder.resolve()
        for image in content["images"]:
            image["file_name"] = os.path.join(folder, str(image["file_name"]))
        _write(path, json.dumps(content))
        _write(path.with_suffix(".changes.txt"), "".join(f"{line}\n" for line in (*changes, *more)))
        written[path] = [*changes, *more]
    return written


def _why_unusable(record: Record, seen: Looked) -> str:
    """Why training would take another image in its place; empty where it would not."""
    if seen.problem or seen.size == (record["height"], record["width"]):
        return seen.problem
    return f"it is {seen.size[1]} x {seen.size[0]}, annotated as {record['width']} x {record['height']}"


def _without_images(content: Record, unusable: Mapping[int, str]) -> tuple[Record, list[str]]:
    kept = [image for image in content["images"] if id(image) not in unusable]
    ids = {image["id"] for image in kept}
    changes = [
        f"image {image['id']} ({image.get('file_name')}) removed: {unusable[id(image)]}"
        for image in content["images"]
        if id(image) in unusable
    ]
    annotations = [
        annotation for annotation in content["annotations"] if annotation["image_id"] in ids
    ]
    return {
        **content,
        "images": [dict(image) for image in kept],
        "annotations": annotations,
    }, changes


def _write(path: Path, text: str) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist; create it first")
    write_atomic(path, text)


def as_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Findings for a program."""
    return [
        {
            "split": each.split, "kind": each.kind, "count": each.total, "training": each.action, "advice": each.advice,
            "examples": [place.text for place in each.examples],
        }
        for each in findings
    ]  # fmt: skip
