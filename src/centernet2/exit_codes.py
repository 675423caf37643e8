"""Exit codes of the command `centernet2`, and the exceptions for two of them."""

from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """How a command ended; MEANINGS describes each code."""

    DONE = 0
    INCOMPLETE = 1
    REFUSED = 2
    EVALUATION_FAILED = 3
    INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h
    KEYBOARD = 130  # as shells report Ctrl-C


# --help prints these sentences; the README repeats them, which a test checks
MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.INCOMPLETE: "done, but inputs were skipped, each named, or a run was not reproduced; "
    "or an error of the program",
    ExitCode.REFUSED: "refused: an input, option or output cannot be used; the message names it",
    ExitCode.EVALUATION_FAILED: "trained, model_final.pth is written, but the evaluation failed",
    ExitCode.INTERRUPTED: "training was interrupted; --resume continues from its last checkpoint",
    ExitCode.KEYBOARD: "interrupted by Ctrl-C or SIGTERM: another command, --dry-run, --eval-only",
}


class TrainingInterrupted(Exception):
    """A signal has stopped training; `resume` continues from the last checkpoint."""


class TrainedWithoutEvaluation(Exception):
    """Training is done and `checkpoint` is written, but the last evaluation failed."""

    def __init__(self, checkpoint: Path, error: Exception) -> None:
        super().__init__(
            f"training is done and {checkpoint} is written, but its evaluation failed "
            f"({type(error).__name__}: {error}); 'centernet2 eval --weights {checkpoint}' or "
            "--resume repeats it"
        )
        self.checkpoint = checkpoint
