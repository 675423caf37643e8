"""The command line: commands and their jobs, logging and exit codes.

To add a command, write a function in a file of `jobs/`, import it here, and register it below.
Jobs import heavy packages inside their functions, so that --help is fast.
"""

import inspect
import logging
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any

from cyclopts import App, CycloptsError, MissingArgumentError

from centernet2.arguments import ArgumentValueError
from centernet2.exit_codes import MEANINGS, ExitCode, TrainedWithoutEvaluation, TrainingInterrupted
from centernet2.files import describe_os_error, name_compiler_cache
from centernet2.jobs.benchmark import benchmark
from centernet2.jobs.check import check
from centernet2.jobs.compare import compare
from centernet2.jobs.config import config
from centernet2.jobs.convert import convert
from centernet2.jobs.doctor import doctor
from centernet2.jobs.evaluate import evaluate
from centernet2.jobs.explain import explain
from centernet2.jobs.export import export
from centernet2.jobs.models import models
from centernet2.jobs.predict import predict
from centernet2.jobs.pseudo_label import pseudo_label
from centernet2.jobs.serve import serve
from centernet2.jobs.show import show
from centernet2.jobs.threshold import threshold
from centernet2.jobs.train import DEFAULT_MODE, train
from centernet2.jobs.verify import verify
from centernet2.launch import ONE_PROCESS, Processes, launch, should_launch
from centernet2.printing import (
    exit_if_skipped,
    print_agreement,
    print_benchmark,
    print_comparison,
    print_export,
    print_findings,
    print_lines,
    print_metrics,
    print_models,
    print_pseudo_labels,
    print_thresholds,
    print_training,
)
from centernet2.usage import (
    describe_refusal,
    refuse_empty_words,
    refuse_fractions,
    refuse_unknown_words,
)

LEVEL_VARIABLE = "CENTERNET2_LOG_LEVEL"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
WHOLE = (int, int | None)  # types of options that take a whole number
REPEAT_SECONDS = 1.0  # a signal that follows within this time is the same request
LEVEL_OF_END = {  # else a warning
    ExitCode.REFUSED: logging.ERROR,
    ExitCode.EVALUATION_FAILED: logging.ERROR,
    ExitCode.INCOMPLETE: logging.INFO,  # the process that has failed says why
}
OPTION_NAMES = {"as_json": "--json", "config": "--config-file", "model": "--weights"}
PROCESSES = inspect.Parameter(
    "processes", inspect.Parameter.KEYWORD_ONLY, default=ONE_PROCESS, annotation=Processes
)
logger = logging.getLogger(__name__)

app = App(
    name="centernet2",
    help="CenterNet2: probabilistic two-stage object detection.",
    help_epilogue="Exit codes:\n\n"
    + "\n\n".join(f"{int(code)}: {meaning}." for code, meaning in MEANINGS.items()),
    help_format="plaintext",
    result_action="return_none",
    suppress_keyboard_interrupt=False,  # `ending` reports it
)


def main() -> None:
    """Entry point of the command."""
    # Transparent huge pages: PyTorch reads this before it allocates its first large tensor.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    name_compiler_cache()
    with ending():
        start_logging()
        refuse_empty_words(sys.argv[1:])
        _refuse_unknown_words(sys.argv[1:])
        app(exit_on_error=False, print_error=False)


@contextmanager
def ending() -> Iterator[None]:
    """End the process after an error of the user or a signal: a sentence and an exit code.

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
        described = describe_os_error(error)
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
    except RuntimeError as error:
        from centernet2.distributed import OtherProcessError

        if not isinstance(error, OtherProcessError):
            raise
        code, message = ExitCode.INCOMPLETE, str(error)
    else:
        return
    logger.log(LEVEL_OF_END.get(code, logging.WARNING), "%s", message)
    logger.debug("", exc_info=True)  # also for a bug that happens to be a ValueError
    sys.exit(code)


def _weights_for(error: CycloptsError) -> str:
    """Name weights that would do, where they are missing."""
    argument = error.argument if isinstance(error, MissingArgumentError) else None
    if argument is None or argument.field_info.name != "weights":
        return ""
    from centernet2.builders.weights_at_hand import describe_weights_at_hand

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
    if words and words[0] in (names := [name for name in app if not name.startswith("-")]):
        options = {
            name: {
                option: argument.hint is not bool
                for argument in app[name].assemble_argument_collection()
                for option in argument.names
            }
            for name in names
        }
        refuse_unknown_words(words[1:], words[0], options)
        arguments = app[words[0]].assemble_argument_collection()
        whole = {name for each in arguments if each.hint in WHOLE for name in each.names}
        refuse_fractions(words[1:], whole)


def start_logging() -> None:
    """Log short lines to a terminal, and lines with date and level to a file or a pipe.

    The main process logs at level INFO. Other processes, whose warnings repeat those of the main
    process, log at ERROR. All of them log at the level of CENTERNET2_LOG_LEVEL if it is set. DEBUG
    shows the traceback of an error.
    """
    from rich import get_console
    from rich.logging import RichHandler

    level = os.environ.get(LEVEL_VARIABLE) or ("INFO" if _is_main_process() else "ERROR")
    if level not in LEVELS:
        raise ValueError(f"{LEVEL_VARIABLE} is '{level}'; choose one of {', '.join(LEVELS)}")
    if level == "DEBUG":  # of this package alone: others write a line per image
        logging.getLogger("centernet2").setLevel(level)
        level = "INFO"
    # An interrupted import of torch would leave its own loggers at this level.
    for name in ("torch", "onnx_ir", "onnxscript"):  # the others log each rewritten node
        logging.getLogger(name).setLevel(logging.WARNING)
    if get_console().is_terminal:
        handlers = [RichHandler(show_path=False, markup=False)]
        logging.basicConfig(level=level, format="%(message)s", handlers=handlers)
    else:
        logging.basicConfig(
            level=level, format="%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S"
        )


def register(
    job: Callable[..., Any],
    *,
    name: str | None = None,
    show: Callable[[Any], None] | None = None,
    first_by_name: bool = False,
    launched: bool = False,
) -> None:
    """Register a job as a command.

    Args:
        job: function; its signature and docstring become options and help.
        name: of the command; default: the name of the function.
        show: prints the result, on the main process.
        first_by_name: make the first parameter an option. In Python it is positional, as in
            `evaluate(model, data=...)`; positional words of the command are KEY VALUE pairs.
        launched: add the options of `Processes`. With several processes, this one starts them and
            exits with their exit code.
    """
    signature = inspect.signature(job)
    first, *others = signature.parameters.values()
    if first_by_name:
        first = first.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    if launched:
        others.append(PROCESSES)

    @wraps(job)
    def command(*words: Any, processes: Processes = ONE_PROCESS, **options: Any) -> None:
        if first_by_name:
            words = (options.pop(first.name, first.default), *words)
        # of training alone; --dry-run and --eval-only end as other commands do
        is_resumable = launched and options.get("mode", DEFAULT_MODE).is_resumable
        try:
            if should_launch(processes):
                code = launch(sys.argv[1:], processes)
                if code == ExitCode.INTERRUPTED and not is_resumable:
                    raise KeyboardInterrupt
                sys.exit(code)
            result = job(*map(_as_given, words), **{k: _as_given(v) for k, v in options.items()})
        except ArgumentValueError as error:
            option = OPTION_NAMES.get(error.name, f"--{error.name.replace('_', '-')}")
            raise ValueError(f"{option} {error.reason}") from error
        except KeyboardInterrupt:
            if not is_resumable:
                raise
            raise TrainingInterrupted(
                "training was interrupted; --resume continues from the last checkpoint, if any"
            ) from None
        if show is not None and _is_main_process():
            show(result)

    parameters = sorted((first, *others), key=lambda each: each.kind)  # stable
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    # cyclopts would evaluate the return type, which is imported only for type checkers
    command.__annotations__ = {k: v for k, v in job.__annotations__.items() if k != "return"}
    app.command(command, name=name)


def _as_given(value: Any) -> Any:
    """Return a path as its text: the current folder is ".", which Path("") equals."""
    return str(value) if isinstance(value, Path) else value


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"  # also valid after a job has left the process group


register(train, show=print_training, first_by_name=True, launched=True)
register(evaluate, name="eval", show=print_metrics, first_by_name=True)
register(compare, show=print_comparison)
register(threshold, show=print_thresholds)
register(predict, show=lambda counts: exit_if_skipped(counts["skipped"]))
register(explain, show=lambda explanation: print_lines(explanation.text()))
register(pseudo_label, show=print_pseudo_labels)
register(export, show=print_export)
register(verify, show=print_agreement)
register(serve)
register(benchmark, show=print_benchmark, first_by_name=True)
register(check, show=print_findings)
register(show)
register(convert)
register(models, show=print_models)
register(config, show=print_lines)
register(doctor, show=print_lines)
