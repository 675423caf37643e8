"""The commands about data: `check`, `show`, `convert`."""

import logging
import sys
from pathlib import Path

from centernet2.cli.arguments import Flag, Pairs, wide_console

EXIT_FOUND = 2
logger = logging.getLogger(__name__)


def check(
    data: Path,
    *,
    data_path: Path | None = None,
    report: Path | None = None,
    no_report: Flag = False,
    fix: Path | None = None,
) -> None:
    """Examine a data set: what is wrong with it, and what training would do about it.

    The exit code is 0 where nothing is wrong, 2 otherwise.

    Parameters
    ----------
    data
        Folder or annotation file of any layout that is known, or the name of a data set, such as coco_2017.
    data_path
        The folder above a named data set.
    report
        Folder for a page with pictures, and for the same as JSON; default: check_NAME.
    no_report
        Print the verdict alone.
    fix
        Write a repaired copy of the annotations there, and the list of what was changed beside it.
    """
    from centernet2.jobs import check as job
    from centernet2.report.dataset_page import findings_table, write_report

    examination = job.examine(data, data_path)
    wide_console().print(findings_table(examination.findings))
    if not no_report:
        folder = report or Path(f"check_{data.resolve().stem}")
        write_report(examination, folder, title=data.resolve().name)
        logger.info("report: %s", folder / "report.html")
    if fix is not None:
        for path, changes in job.write_repaired(examination.splits, fix).items():
            logger.info(
                "%s: %d changes, listed in %s", path, len(changes), path.with_suffix(".changes.txt")
            )
    if not examination.is_clean:
        sys.exit(EXIT_FOUND)


def show(
    data: Path,
    *overrides: Pairs,
    data_path: Path | None = None,
    output: Path = Path("show.jpg"),
    split: str = "train",
    count: int = 16,
    seed: int = 0,
    augmented: Flag = False,
    targets: Flag = False,
    config_file: str = "CenterNet2_R50_1x",
) -> None:
    """Draw images of a data set with their objects on a contact sheet.

    Parameters
    ----------
    data
        Folder or annotation file of any layout that is known, or the name of a data set, such as coco_2017.
    data_path
        The folder above a named data set.
    output
        The picture.
    split
        train or val.
    count
        How many images.
    seed
        Which ones, and which random changes.
    augmented
        Beside each image, what training makes of it with this configuration.
    targets
        Beside that, the heat map that the first stage should predict, and the levels of the objects.
    config_file
        Path or name of the configuration that says how images are changed.
    """
    from centernet2.config import load_config
    from centernet2.jobs.show import show as draw_sheet

    config = load_config(config_file, overrides)
    draw_sheet(
        data,
        output,
        config=config,
        split=split,
        count=count,
        seed=seed,
        augmented=augmented or targets,
        targets=targets,
        data_path=data_path,
    )
    logger.info("%s", output)


def convert(data: Path, output: Path, *, to: str, data_path: Path | None = None) -> None:
    """Bring a data set into another layout.

    Parameters
    ----------
    data
        Folder or annotation file: COCO's format in any arrangement, YOLO, Pascal VOC; or the name of a data set.
    output
        Folder for the result; the images are copied.
    to
        coco, yolo or voc.
    data_path
        The folder above a named data set.
    """
    from centernet2.jobs.convert import convert as convert_data

    convert_data(data, output, to=to, data_path=data_path)
