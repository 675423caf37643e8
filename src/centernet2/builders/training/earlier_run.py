"""Earlier training runs in an output folder: their files, and moving them aside."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from centernet2.builders.training.train_command import COMMAND_FILE, PLAN_FILE, REPORT_FOLDER
from centernet2.outputs import move_to_earlier
from centernet2.structures import StrPath

# what a run writes, besides its checkpoints
NAMES = (
    "config.yaml", COMMAND_FILE, PLAN_FILE, "metrics.jsonl", "nonfinite.jsonl", "tensorboard",
    "pictures", "eval", "eval_ema", REPORT_FOLDER,
)  # fmt: skip
CHECKPOINTS = ("model_*.pth", "model_*.pth.old")
OF_A_FOLDER = ("--data", "--weights", "MODEL.WEIGHTS")  # inputs whose files are in a folder
logger = logging.getLogger(__name__)


def require_movable(output: Path, inputs: Mapping[str, StrPath | None]) -> None:
    """Raise ValueError for what a new run in the output folder must not move.

    That is an input of the run, by option, and a file or a folder that no run has written.
    """
    found = _files_of_run(output)
    if found and not _is_run(output, found):
        raise ValueError(
            f"the output folder {output} holds '{found[0].name}', which no training run has "
            "written; choose another --output-dir, or move it away"
        )
    own = [path.resolve() for path in found]
    for option, given in inputs.items():
        path = None if given is None else Path(given).resolve()
        is_folder = option in OF_A_FOLDER and path == output.resolve()
        if own and path and (is_folder or any(each in (path, *path.parents) for each in own)):
            raise ValueError(
                f"{option} {given} belongs to the earlier run in the output folder {output}; "
                "choose another --output-dir, or continue that run with --resume"
            )


def set_aside_earlier_run(output: Path) -> None:
    """Move the files of an earlier run to a subfolder: earlier_1, earlier_2, ...

    A run without a checkpoint is replaced: it had hardly begun.
    """
    found = _files_of_run(output)
    if not any(map(_is_checkpoint, found)):
        return
    logger.warning(
        "%s holds an earlier training run: it is moved to %s (--resume continues a run)",
        output, move_to_earlier(output, found),
    )  # fmt: skip


def _is_run(output: Path, found: Sequence[Path]) -> bool:
    return output / COMMAND_FILE in found or any(map(_is_checkpoint, found))


def _is_checkpoint(path: Path) -> bool:
    return path.name.startswith("model_")


def _files_of_run(output: Path) -> list[Path]:
    named = [output / name for name in NAMES if (output / name).exists()]
    return named + [path for pattern in CHECKPOINTS for path in sorted(output.glob(pattern))]
