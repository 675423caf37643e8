"""The command `check`: find problems of a data set."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from centernet2.arguments import checked
from centernet2.files import printable
from centernet2.jobs import ClassMap, Data, DataPath, Flag, PathArgument
from centernet2.outputs import require_replaceable, writable_file, writable_folder

if TYPE_CHECKING:
    from centernet2.data.check import Examination
    from centernet2.report.dataset_page import FirstStageSizes

WRITTEN = ("report.html", "findings.json")
SHOWN_CONFIG = "CenterNet2_R50_1x"  # the page shows its test size and levels
logger = logging.getLogger(__name__)


@checked()
def check(
    data: Data,
    *,
    data_path: DataPath = None,
    class_map: ClassMap = None,
    report: PathArgument | None = None,
    findings_only: Annotated[Flag, Parameter(name=("--findings-only", "--no-report"))] = False,
    fix: PathArgument | None = None,
) -> Examination:
    """Check a data set for problems, and show how training would handle them.

    The exit code is 0 if there are none, 2 otherwise.

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
    from centernet2.builders.class_map import (
        CategoryRenaming,
        class_map_of,
        parse_class_map,
        require_names,
    )
    from centernet2.data.check import (
        MAX_EXAMPLES,
        examine_dataset,
        list_of_changes,
        write_repaired,
    )
    from centernet2.report.dataset_page import write_dataset_page

    if findings_only and report is not None:
        raise ValueError("--findings-only writes no page: leave it or --report out")
    source = Path(data)
    folder = Path(report or f"check_{source.resolve().stem}")
    if not findings_only:
        writable_folder(folder, "--report", command="check", files=WRITTEN)
    repaired = None if fix is None else _file_for_repaired(Path(fix), source)
    rename = CategoryRenaming(parse_class_map(class_map_of(class_map) or ()))
    examination = examine_dataset(
        source,
        None if data_path is None else Path(data_path),
        rename=rename,
        max_examples=MAX_EXAMPLES if repaired is None else None,  # the list of changes has all
    )
    require_names(rename.class_map, rename.names, str(source))
    if not findings_only:
        title, sizes = printable(source.resolve().name), _first_stage_sizes()
        write_dataset_page(examination, folder, title=title, first_stage=sizes)
        logger.info("report: %s", folder / "report.html")
    if repaired is not None:
        for path, changes in write_repaired(examination.splits, repaired).items():
            logger.info("%s: %d changes, listed in %s", path, len(changes), list_of_changes(path))
    return examination


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
    from centernet2.builders.data_pipeline import build_test_transform
    from centernet2.config import load_config
    from centernet2.report.dataset_page import FirstStageSizes

    config = load_config(SHOWN_CONFIG)
    ranges = [(low, high) for low, high in config.assigner.sizes_of_interest]
    levels = dict(zip(config.centernet.in_features, ranges, strict=True))
    return FirstStageSizes(SHOWN_CONFIG, build_test_transform(config), levels)
