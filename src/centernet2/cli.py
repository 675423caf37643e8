"""The command line: logging, signals and exit codes of the commands."""

import atexit
import gc
import logging
import math
import os
import re
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from cyclopts import CycloptsError, MissingArgumentError

from centernet2.commands import COMMANDS, app, is_reporting, types_of_options
from centernet2.exit_codes import ExitCode, TrainedWithoutEvaluation, TrainingInterrupted
from centernet2.files import describe_os_error, name_compiler_cache
from centernet2.threads import choose_threads
from centernet2.usage import (
    describe_refusal,
    refuse_empty_words,
    refuse_fractions,
    refuse_unknown_words,
)

LEVEL_VARIABLE = "CENTERNET2_LOG_LEVEL"
ERROR_FILE_VARIABLE = "TORCHELASTIC_ERROR_FILE"  # set by torchrun and `launch`
ATTEMPT = "attempt_"  # beginning of the folder that they make anew for each start of the processes
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
WHOLE = (int, int | None)  # types of options that take a whole number
NEW_OBJECTS = 50_000  # after which new ones are searched for garbage
REPEAT_SECONDS = 1.0  # a signal that follows within this time is the same request
LEVEL_OF_END = {  # else a warning
    ExitCode.REFUSED: logging.ERROR,
    ExitCode.EVALUATION_FAILED: logging.ERROR,
    ExitCode.INCOMPLETE: logging.INFO,  # the process that has failed says why
}
LACKS_OF_MEMORY = (  # in messages of PyTorch, NumPy, ONNX Runtime and the system
    "allocate memory", "not enough memory", "out of memory", "bad_alloc", "MemoryError",
)  # fmt: skip
MISTAKES = (TypeError, LookupError, AttributeError)  # of a program, whatever words they quote
ALLOCATION = re.compile(r"(?:.*DefaultCPUAllocator: )?(.*?\d ?(?:[KMGTP]iB|bytes))")
logger = logging.getLogger(__name__)


def main() -> None:
    """Entry point of the command."""
    # Transparent huge pages: PyTorch reads this before it allocates its first large tensor.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    name_compiler_cache()
    choose_threads()
    _search_less_for_garbage()
    with ending():
        start_logging()
        refuse_empty_words(sys.argv[1:])
        _refuse_unknown_words(sys.argv[1:])
        app(exit_on_error=False, print_error=False)


def _search_less_for_garbage() -> None:
    """Search for unreachable objects less often, and not at the end of the process.

    Most objects are those of imported modules, which stay. With torch, the search at the end would
    take a quarter of the time of its import.
    """
    gc.set_threshold(NEW_OBJECTS)
    atexit.register(gc.freeze)


@contextmanager
def ending() -> Iterator[None]:
    """End the process after a user's error or a signal: a sentence and an exit code.

    Errors of the program keep their traceback.
    """
    try:
        with _interrupted_by_signals():
            yield
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where an error of it is reported
    except CycloptsError as error:
        code, message = ExitCode.REFUSED, describe_refusal(error, list(app)) + _weights_for(error)
    except BrokenPipeError:  # such as of `| head -1`; rich ends with the same code
        if not _reader_has_left():
            raise  # of another pipe or connection
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.INCOMPLETE)
    except OSError as error:
        described = describe_os_error(error) or describe_lack_of_memory(error)
        if described is None:
            raise
        code, message = ExitCode.REFUSED, described
    except ValueError as error:
        code, message = ExitCode.REFUSED, str(error)
    except KeyboardInterrupt as error:
        code, message = ExitCode.KEYBOARD, str(error) or "interrupted"
    except TrainingInterrupted as error:
        code, message = ExitCode.INTERRUPTED, str(error)
    except TrainedWithoutEvaluation as error:
        code, message = ExitCode.EVALUATION_FAILED, str(error)
    except Exception as error:
        if _is_of_other_process(error):
            code, message = ExitCode.INCOMPLETE, str(error)
        elif lack := describe_lack_of_memory(error):
            code, message = ExitCode.REFUSED, lack
        else:
            raise
    else:
        return
    level = LEVEL_OF_END.get(code, logging.WARNING)
    if logger.isEnabledFor(level) and _is_first_to_say(message):
        logger.log(level, "%s", message)
    logger.debug("", exc_info=True)  # also for a bug that happens to be a ValueError
    sys.exit(code)


def _is_of_other_process(error: Exception) -> bool:
    """Whether another process has failed, which has said why."""
    if not isinstance(error, RuntimeError):
        return False
    from centernet2.distributed import OtherProcessError

    return isinstance(error, OtherProcessError)


def describe_lack_of_memory(error: Exception) -> str | None:
    """Say what could not be allocated, and what needs less; None: another error.

    Not each library raises MemoryError, and that of a worker of the data loader is a traceback in
    a RuntimeError.
    """
    lines = [line for line in str(error).splitlines() if line.strip()]
    found = [line for line in lines if any(words in line for words in LACKS_OF_MEMORY)]
    if isinstance(error, MISTAKES) or not (found or isinstance(error, MemoryError)):
        return None
    line = next(reversed(found or lines), "")
    size = ALLOCATION.match(line)
    reason = size[1] if size else line.strip().rstrip(".")
    return (
        f"there is not enough memory{f' ({reason})' if reason else ''}; choose a smaller batch "
        "(--batch-size, SOLVER.IMS_PER_BATCH), smaller images (INPUT.MIN_SIZE_TRAIN, "
        "INPUT.MIN_SIZE_TEST) or fewer workers (DATALOADER.NUM_WORKERS)"
    )


def _is_first_to_say(message: str) -> bool:
    """Whether no other process of this machine has ended with these words."""
    from hashlib import sha256  # not for --help

    own = Path(os.environ.get(ERROR_FILE_VARIABLE, "")).parent  # a folder beside those of others
    if not own.parent.name.startswith(ATTEMPT):  # another folder may have marks of earlier runs
        return True
    mark = own.parent / sha256(message.encode(errors="surrogateescape")).hexdigest()
    try:
        if mark.exists():  # a process may run several commands
            return mark.read_text() == own.name
        with mark.open("x") as file:
            file.write(own.name)
    except OSError as error:  # better said twice than never
        return not isinstance(error, FileExistsError)
    return True


def _weights_for(error: CycloptsError) -> str:
    """Name weights that would do, where they are missing."""
    argument = error.argument if isinstance(error, MissingArgumentError) else None
    if argument is None or argument.field_info.name != "weights":
        return ""
    from centernet2.builders.detector.weights_at_hand import describe_weights_at_hand

    return f"; {describe_weights_at_hand(Path())}"


def _reader_has_left() -> bool:
    """Whether nobody reads the standard output any more."""
    try:
        output = sys.stdout.fileno()
    except (AttributeError, OSError):  # it is closed or no file
        return False
    poll = select.poll()
    poll.register(output, 0)  # errors are reported always
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM, too, and afterwards ignore both signals."""
    numbers = [n for n in STOP_SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
    last = -math.inf

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal last
        repeated, last = time.monotonic() - last < REPEAT_SECONDS, time.monotonic()
        if not repeated:  # `timeout` and launchers send a signal to the process and to its group
            raise KeyboardInterrupt

    before: dict[signal.Signals, Any] = {n: signal.signal(n, stop) for n in numbers}
    try:
        yield
    except (KeyboardInterrupt, TrainingInterrupted):
        before = dict.fromkeys(before, signal.SIG_IGN)  # the process is ending already
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _refuse_unknown_words(words: Sequence[str]) -> None:
    """Raise ValueError for words that look like options of the command, but are none."""
    if words and words[0] in COMMANDS:
        refuse_unknown_words(words[1:], words[0], types_of_options, COMMANDS)
        types = types_of_options(words[0])
        refuse_fractions(words[1:], {name for name, kind in types.items() if kind in WHOLE})


def start_logging() -> None:
    """Log short lines to a terminal, lines with date and level to a file or a pipe.

    The main process logs at level INFO. Other processes, whose warnings repeat those of the main
    process, log at ERROR. All of them log at the level of CENTERNET2_LOG_LEVEL if it is set. DEBUG
    shows the traceback of an error.
    """
    from rich import get_console

    level = os.environ.get(LEVEL_VARIABLE) or ("INFO" if is_reporting() else "ERROR")
    if level not in LEVELS:
        raise ValueError(f"{LEVEL_VARIABLE} is '{level}'; choose one of {', '.join(LEVELS)}")
    if level == "DEBUG":  # of this package alone: others write a line per image
        logging.getLogger("centernet2").setLevel(level)
        level = "INFO"
    # An interrupted import of torch would leave its own loggers at this level.
    for name in ("torch", "onnx_ir", "onnxscript"):  # the others log each rewritten node
        logging.getLogger(name).setLevel(logging.WARNING)
    if get_console().is_terminal:
        from rich.logging import RichHandler

        handlers = [RichHandler(show_path=False, markup=False)]
        logging.basicConfig(level=level, format="%(message)s", handlers=handlers)
    else:
        logging.basicConfig(
            level=level, format="%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S"
        )
