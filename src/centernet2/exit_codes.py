"""Exit codes of the command `centernet2`."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    INCOMPLETE = 1  # done, but inputs were skipped, each named; or an error of the program
    REFUSED = 2  # an input or an option cannot be used; nothing was changed
    EVALUATION_FAILED = 3  # trained, model_final.pth is written, but the evaluation failed
    INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: saved, continue with --resume
    KEYBOARD = 130  # ended by Ctrl-C, as shells report it
