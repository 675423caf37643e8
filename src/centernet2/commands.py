"""The commands in groups: help, the job each one runs, what prints its result.

To add a command, write a function in a file of `jobs/` and a row of `GROUPS`. A job is imported
when its command is used, so that the list of commands appears at once.
"""

import inspect
import os
import sys
from collections.abc import Callable
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from cyclopts import App, Group, Parameter

from centernet2 import printing
from centernet2.arguments import ArgumentValueError
from centernet2.exit_codes import MEANINGS, ExitCode, TrainingInterrupted
from centernet2.help_pages import HelpPages, shown_default
from centernet2.launch import ONE_PROCESS, Processes, launch, should_launch

OPTION_NAMES = {"as_json": "--json", "config": "--config-file", "model": "--weights"}
PROCESSES_PARAMETER = inspect.Parameter(
    "processes", inspect.Parameter.KEYWORD_ONLY, default=ONE_PROCESS, annotation=Processes
)


class Command(NamedTuple):
    """A command."""

    example: str  # its words after the command, for the help
    job: str = ""  # function in the file of the same name in `jobs/`; default: the command's name
    show: Callable[[Any], None] | None = None  # prints the result, on the main process
    # Make the first parameter an option. In Python it is positional, as in
    # `evaluate(model, data=...)`; positional words of the command are KEY VALUE pairs.
    first_by_name: bool = False
    # Add the options of `Processes`. With several processes, this one starts them and exits with
    # their exit code.
    launched: bool = False


GROUPS: dict[str, dict[str, Command]] = {
    "Data": {
        "check": Command("my_data --fix repaired.json", show=printing.print_findings),
        "show": Command("my_data --split val --count 9 --output grid.jpg"),
        "convert": Command("my_data my_data_coco --to coco"),
    },
    "Train": {
        "train": Command(
            "my_data --minutes 20 --output-dir runs/mine",
            show=printing.print_training,
            first_by_name=True,
            launched=True,
        ),
        "card": Command("runs/mine", show=printing.print_lines),
        "reproduce": Command("runs/mine/card.md", show=printing.print_reproduction, launched=True),
        "pseudo-label": Command(
            "--weights runs/mine --images unlabelled --output pseudo.json",
            show=printing.print_pseudo_labels,
        ),
        "next": Command(
            "unlabelled --weights runs/mine --count 50",
            job="next_images",
            show=printing.print_next_images,
        ),
    },
    "Evaluate": {
        "eval": Command(
            "my_data --weights runs/mine --report report",
            job="evaluate",
            show=printing.print_metrics,
            first_by_name=True,
        ),
        "compare": Command("runs/first runs/second --data my_data", show=printing.print_comparison),
        "threshold": Command(
            "runs/mine --data my_data --precision 0.9", show=printing.print_thresholds
        ),
    },
    "Use": {
        "predict": Command(
            "photos film.mp4 --weights runs/mine --score-threshold 0.4", show=printing.print_skipped
        ),
        "explain": Command(
            "photo.jpg --at 312,140 --weights runs/mine", show=printing.print_explanation
        ),
    },
    "Deploy": {
        "export": Command(
            "--weights runs/mine --output model.onnx --size 480x640", show=printing.print_export
        ),
        "verify": Command("model.onnx", show=printing.print_agreement),
        "serve": Command("--weights runs/mine --port 8080"),
    },
    "Inspect": {
        "models": Command("CenterNet2_R50_1x", show=printing.print_models),
        "config": Command("CenterNet2_R50_1x SOLVER.BASE_LR 0.01", show=printing.print_lines),
        "benchmark": Command(
            "--config-file CenterNet2_R50_1x --sizes 640x640 800x1216",
            show=printing.print_benchmark,
            first_by_name=True,
        ),
        "doctor": Command("--device cpu", show=printing.print_lines),
    },
}
COMMANDS = {name: command for commands in GROUPS.values() for name, command in commands.items()}


app = App(
    name="centernet2",
    help="CenterNet2: probabilistic two-stage object detection.",
    help_epilogue="Exit codes:\n\n"
    + "\n\n".join(f"{int(code)}: {meaning}." for code, meaning in MEANINGS.items()),
    help_format="plaintext",
    help_formatter=HelpPages(),
    group_commands=Group("Other", sort_key=len(GROUPS)),
    group_parameters=Group("Options", sort_key=0),
    default_parameter=Parameter(show_default=shown_default),
    result_action="return_none",
    suppress_keyboard_interrupt=False,  # `cli.ending` reports it
)


def __getattr__(name: str) -> Callable[..., None]:
    """Return the function of a command when the argument parser asks for it."""
    if name not in COMMANDS:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return as_function(find_job(name), COMMANDS[name])


def find_job(name: str) -> Callable[..., Any]:
    """Import the job of a command."""
    job = _job_of(name)
    function: Callable[..., Any] = getattr(import_module(f"centernet2.jobs.{job}"), job)
    return function


def summary_of(name: str) -> str:
    """Read the first docstring line of a command's job, which is not imported."""
    job = _job_of(name)
    source = Path(__file__).with_name("jobs").joinpath(f"{job}.py").read_text("utf-8")
    return source.partition(f"\ndef {job}(")[2].split('"""')[1].splitlines()[0]


def _job_of(name: str) -> str:
    return COMMANDS[name].job or name.replace("-", "_")


def as_function(job: Callable[..., Any], command: Command) -> Callable[..., None]:
    """Return a function whose signature is the command line of a job."""
    signature = inspect.signature(job)
    first, *others = signature.parameters.values()
    if command.first_by_name:
        first = first.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    if command.launched:
        others.append(PROCESSES_PARAMETER)

    @wraps(job)
    def run(*words: Any, processes: Processes = ONE_PROCESS, **options: Any) -> None:
        if command.first_by_name:
            words = (options.pop(first.name, first.default), *words)
        # of training alone; --dry-run and --eval-only end as other commands do
        mode = options.get("mode")
        is_resumable = command.launched and (mode is None or mode.is_resumable)
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
        if command.show is not None and is_reporting():
            command.show(result)

    parameters = sorted((first, *others), key=lambda each: each.kind)  # stable
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    # cyclopts would evaluate the return type, which is imported only for type checkers
    run.__annotations__ = {k: v for k, v in job.__annotations__.items() if k != "return"}
    return run


def _as_given(value: Any) -> Any:
    """Return a path as its text: the current folder is ".", which Path("") equals."""
    return str(value) if isinstance(value, Path) else value


def is_reporting() -> bool:
    """Whether this process reports; also valid after a job has left the process group."""
    return os.environ.get("RANK", "0") == "0"


def types_of_options(name: str) -> dict[str, Any]:
    """Return the types of the options of a command, such as "--data"."""
    arguments = app[name].assemble_argument_collection()
    return {option: each.hint for each in arguments for option in each.names}


def _register() -> None:
    for position, (title, commands) in enumerate(GROUPS.items()):
        group = Group(title, sort_key=position)
        for place, (name, command) in enumerate(commands.items()):
            app.command(
                f"{__name__}:{name}",
                name=name,
                group=group,
                sort_key=place,
                help=summary_of(name),
                help_formatter=HelpPages(partial(find_job, name)),
                help_epilogue=f"Example:\n\n  centernet2 {name} {command.example}",
            )
    app.register_install_completion_command(help="Complete commands and options in this shell.")


_register()
