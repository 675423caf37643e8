"""The command `check`: find problems of a data set, and labels that may be wrong."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from centernet2.arguments import checked
from centernet2.exit_codes import TrainingInterrupted
from centernet2.files import printable, write_json
from centernet2.jobs import ClassMap, Data, DataPath, Device, Flag, PathArgument, WeightsArgument
from centernet2.option_groups import LABELS
from centernet2.outputs import json_mark, require_replaceable, writable_file, writable_folder
from centernet2.ranges import above, at_least, between

if TYPE_CHECKING:
    from centernet2.data.check import Correction, Examination, LabelError
    from centernet2.models.detector import Detector
    from centernet2.report.dataset_page import FirstStageSizes

WRITTEN = ("report.html", "findings.json")
LABELS_FILE = "labels.json"
WRITTEN_FOR_LABELS = (LABELS_FILE, "labels_1.jpg")
SHOWN_CONFIG = "CenterNet2_R50_1x"  # the page shows its test size and levels
logger = logging.getLogger(__name__)


@Parameter(name="*", group=LABELS)
@dataclass(frozen=True)
class LabelCheck:
    """Search for labels that may be wrong: a list and sheets in the report folder.

    Parameters
    ----------
    with_model
        Weights of a detector that judges the labels, or the folder of its training run. It must
        not have been trained on these labels, which it would have learned.
    folds
        Number of detectors to train, each without one part of the images, which it then judges.
        They stay in the report folder, and an interrupted check is continued.
    minutes
        Wall-clock time of each of these training runs.
    suspicion
        Suspicion from which a label is listed, in 0..1.
    accepted
        labels.json of an earlier check, whose suggestions with "accept": true are applied to the
        copy of --fix.
    """

    with_model: WeightsArgument | None = None
    folds: int | None = None
    minutes: float = 5.0
    suspicion: float = 0.6
    accepted: PathArgument | None = None
    device: Device = None

    @property
    def has_judge(self) -> bool:
        """Whether labels are judged."""
        return self.with_model is not None or self.folds is not None

    def load(self, folder: Path) -> tuple[Detector | None, list[Correction]]:
        """Load the detector that judges the labels, if any, and the accepted corrections.

        Args:
            folder: of the report, whose list of labels will be replaced.
        """
        from centernet2.builders.detector.loading import load_for_inference
        from centernet2.data.check import read_accepted, require_undecided

        if self.has_judge:
            writable_folder(folder, "--report", command="check", files=WRITTEN_FOR_LABELS)
            require_undecided(folder / LABELS_FILE)
        accepted = [] if self.accepted is None else read_accepted(Path(self.accepted))
        if self.accepted is not None and not accepted:
            logger.warning('no suggestion in %s has "accept": true', self.accepted)
        if self.with_model is None:
            return None, accepted
        return load_for_inference(self.with_model, device=self.device), accepted

    def require_consistent(self, *, findings_only: bool, fix: PathArgument | None) -> None:
        """Raise ValueError for options that exclude or need each other."""
        if self.with_model is not None and self.folds is not None:
            raise ValueError("give either --with-model or --folds, which trains the detectors")
        if self.has_judge and findings_only:
            raise ValueError("--findings-only writes no list of labels: leave it out")
        if self.accepted is not None and fix is None:
            raise ValueError("--accepted changes a copy of the annotations; name it with --fix")
        if self.folds is None and self.minutes != LabelCheck.minutes:
            raise ValueError("--minutes is of the training runs of --folds; leave it out")
        if not self.has_judge and self.suspicion != LabelCheck.suspicion:
            raise ValueError("--suspicion needs a detector that judges: --with-model or --folds")


DEFAULT_LABEL_CHECK = LabelCheck()


@checked(folds=at_least(2), minutes=above(0), suspicion=between(0, 1))
def check(
    data: Data,
    *,
    data_path: DataPath = None,
    class_map: ClassMap = None,
    report: PathArgument | None = None,
    findings_only: Annotated[Flag, Parameter(name=("--findings-only", "--no-report"))] = False,
    fix: PathArgument | None = None,
    labels: LabelCheck = DEFAULT_LABEL_CHECK,
) -> Examination:
    """Check a data set for problems, and show how training would handle them.

    The exit code is 0 if there are none, 2 otherwise; suspected labels do not count.

    Parameters
    ----------
    report
        Folder for a report page and findings.json; default: check_NAME.
    findings_only
        Print the table, and write no page.
    fix
        JSON file for a repaired copy of the annotations; the changes are listed beside it, in
        NAME.changes.txt. Several splits are written to NAME_train.json and so on.
    """
    from centernet2.builders.data.class_map import (
        CategoryRenaming,
        class_map_of,
        parse_class_map,
        require_names,
    )
    from centernet2.data.check import MAX_EXAMPLES, examine_dataset
    from centernet2.report.dataset_page import write_dataset_page

    if findings_only and report is not None:
        raise ValueError("--findings-only writes no page: leave it or --report out")
    labels.require_consistent(findings_only=findings_only, fix=fix)
    source = Path(data)
    folder = Path(report or f"check_{source.resolve().stem}")
    if not findings_only:
        writable_folder(folder, "--report", command="check", files=WRITTEN)
    repaired = None if fix is None else _file_for_repaired(Path(fix), source)
    judge, corrections = labels.load(folder)
    rename = CategoryRenaming(parse_class_map(class_map_of(class_map) or ()))
    examination = examine_dataset(
        source,
        data_path,
        rename=rename,
        max_examples=MAX_EXAMPLES if repaired is None else None,  # the list of changes has all
    )
    require_names(rename.class_map, rename.names, str(source))
    if not findings_only:
        title, sizes = printable(source.resolve().name), _first_stage_sizes()
        write_dataset_page(examination, folder, title=title, first_stage=sizes)
        logger.info("report: %s", folder / "report.html")
    if repaired is not None:
        _write_repaired(examination, repaired, corrections)
    if labels.has_judge:
        _check_labels(examination, labels, judge, folder)
    return examination


def _write_repaired(
    examination: Examination, path: Path, corrections: Sequence[Correction]
) -> None:
    """Write the copies of --fix."""
    from centernet2.data.check import list_of_changes, write_repaired

    for copy, changes in write_repaired(examination.splits, path, corrections).items():
        logger.info("%s: %d changes, listed in %s", copy, len(changes), list_of_changes(copy))


def _check_labels(
    examination: Examination, labels: LabelCheck, judge: Detector | None, folder: Path
) -> None:
    """Write labels.json and the sheets about labels that are likely to be wrong."""
    from centernet2.data.check import suggestion_records
    from centernet2.report.label_sheet import write_label_sheets

    found = _suspect(examination, labels, judge, folder)
    errors = [each for each in found if each.suspicion >= labels.suspicion]
    errors.sort(key=lambda each: -each.suspicion)
    path = folder / LABELS_FILE
    content = {"suggestions": suggestion_records(errors, examination.splits)}
    write_json(path, json_mark("check") | content, indent=1)
    datasets = {name: split.dataset for name, split in examination.splits.items()}
    sheets = write_label_sheets(errors, datasets, folder)
    kinds = Counter(each.kind for each in errors)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "none"
    logger.info("%s: labels that are likely to be wrong: %s", path, counts)
    if sheets:
        logger.info(
            'pictures: %s and so on; set "accept" to true in %s where it is right, then '
            "--accepted %s --fix COPY.json corrects a copy",
            sheets[0], path.name, path,
        )  # fmt: skip


def _suspect(
    examination: Examination, labels: LabelCheck, judge: Detector | None, folder: Path
) -> list[LabelError]:
    """Let one detector judge all labels, or without it one for each fold."""
    from centernet2.builders.data.label_check import suspect_labels
    from centernet2.builders.data.label_folds import suspect_labels_in_folds

    datasets = {name: split.dataset for name, split in examination.splits.items()}
    splits = {name: each for name, each in datasets.items() if len(each.labels)}  # not a test set
    if not splits:
        raise ValueError("there are no labels to judge; leave --with-model and --folds out")
    if judge is None:
        runs = folder / f"{labels.folds}_folds_{labels.minutes:g}_minutes"
        train = partial(train_fold, minutes=labels.minutes, device=labels.device)
        folds = labels.folds or 0
        return suspect_labels_in_folds(splits, folds, runs, train, device=labels.device)
    owner = str(labels.with_model)
    return [
        error
        for name, dataset in splits.items()
        for error in suspect_labels(judge, dataset, split=name, owner=owner)
    ]


def train_fold(
    data: Path, output: Path, resume: bool, *, minutes: float, device: str | None
) -> None:
    """Train a detector with the options that `centernet2 train` chooses for the data."""
    from centernet2.jobs.train import TrainMode, train

    mode = TrainMode(minutes=minutes, effort=None if resume else "quick")
    try:
        train(data=data, output_dir=output, resume=resume, seed=0, device=device, mode=mode)
    except TrainingInterrupted as error:
        raise TrainingInterrupted("interrupted; the same command continues the check") from error


def _file_for_repaired(path: Path, source: Path) -> Path:
    """Return the path of --fix; raise ValueError if it would replace or join the data."""
    from centernet2.data.check import repaired_files

    writable_file(path, "--fix", command="check")
    if source.resolve() in (path.resolve(), *path.resolve().parents):
        raise ValueError(
            f"--fix {path} is in the data set {source}, which would read it as annotations; give a "
            "path elsewhere"
        )
    for each in repaired_files(path):
        require_replaceable(each, "check", "--fix")
    return path


def _first_stage_sizes() -> FirstStageSizes:
    from centernet2.builders.data.data_pipeline import build_test_transform
    from centernet2.config import load_config
    from centernet2.report.dataset_page import FirstStageSizes

    config = load_config(SHOWN_CONFIG)
    ranges = [(low, high) for low, high in config.assigner.sizes_of_interest]
    levels = dict(zip(config.centernet.in_features, ranges, strict=True))
    return FirstStageSizes(SHOWN_CONFIG, build_test_transform(config), levels)
