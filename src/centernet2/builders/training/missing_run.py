"""Say that an output folder has no run to resume, and which runs are near it."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from centernet2.builders.training.train_command import COMMAND_FILE
from centernet2.checkpoint.checkpoint import numbered_checkpoints
from centernet2.config import ConfigError

SHOWN_RUNS = 3


@contextmanager
def explain_missing_run(output: Path) -> Iterator[None]:
    """Say that there is no run to resume, too, if a new one cannot start."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        raise ConfigError(
            f"{describe_missing_run(output)}; a new run cannot start either: {error}"
        ) from error


def describe_missing_run(output: Path) -> str:
    """Say that a folder has no checkpoint to resume, and which runs are near it."""
    reason = "holds no checkpoint to resume" if output.is_dir() else "does not exist"
    folders = [*_folders(output), *_folders(output.absolute().parent)]
    runs = [each for each in folders if each != output.absolute() and _may_be_resumed(each)]
    near = difflib.get_close_matches(output.name, [each.name for each in runs], SHOWN_RUNS, 0.0)
    shown = [str(next(each for each in runs if each.name == name)) for name in near]
    nearby = f"; runs near it: {', '.join(shown)}" if shown else ""
    return f"{output} {reason}{nearby}"


def _folders(path: Path) -> list[Path]:
    return sorted(each for each in path.absolute().glob("*") if each.is_dir())


def _may_be_resumed(folder: Path) -> bool:
    return (folder / COMMAND_FILE).is_file() or bool(numbered_checkpoints(folder))
