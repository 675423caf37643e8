"""The command line: help, called jobs, printed results and exit codes."""

import errno
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from centernet2 import cli, commands, printing
from centernet2.commands import COMMANDS, Command
from centernet2.distributed import OtherProcessError
from centernet2.exit_codes import MEANINGS, ExitCode
from centernet2.help_pages import describe, shown_default
from centernet2.launch import LAUNCHED_VARIABLE, Processes
from centernet2.usage import refuse_unknown_words

HEAVY = {"torch", "numpy", "PIL", "pydantic", "yaml"}


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Call `main` without words; restore the signals, which an interrupted command ignores."""
    monkeypatch.setattr(sys, "argv", ["centernet2"])
    before = {each: signal.getsignal(each) for each in cli.STOP_SIGNALS}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["train", "--help"]])
def test_help_loads_no_heavy_module(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom centernet2.cli import app\n"
        f"app({arguments}, result_action='return_none')\nprint('loaded', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown, _, loaded = done.stdout.rpartition("loaded ")
    assert "Usage: centernet2" in shown
    assert not HEAVY & set(loaded.split())
    jobs = {name for name in loaded.split() if name.startswith("centernet2.jobs.")}
    assert ("centernet2.jobs.train" in jobs) is (arguments[0] == "train")
    assert bool(jobs) is (len(arguments) > 1)


def test_help_lists_every_command_in_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    cli.app(["--help"], result_action="return_none")
    shown = capsys.readouterr().out
    for title, group in commands.GROUPS.items():
        panel = shown.partition(f"╭─ {title} ─")[2].partition("╰")[0]
        assert re.findall(r"^│ ([a-z-]+) ", panel, re.MULTILINE) == list(group)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_is_its_docstring(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole, with the lines joined, and with the summary of the list of commands."""
    monkeypatch.setenv("COLUMNS", "200")
    cli.app([name, "--help"], result_action="return_none")
    shown = capsys.readouterr().out
    described = describe(commands.find_job(name))
    assert described.split("\n")[0] == commands.summary_of(name)
    assert described in shown
    assert f"Example:\n\n  centernet2 {name} {COMMANDS[name].example}\n" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_example_of_a_command_can_be_parsed(name: str) -> None:
    words = [name, *shlex.split(COMMANDS[name].example)]
    refuse_unknown_words(words[1:], name, commands.types_of_options, COMMANDS)
    _, given, _ = cli.app.parse_args(words, exit_on_error=False, print_error=False)
    assert given.arguments


@pytest.mark.parametrize(
    ("value", "shown"), [(False, None), ((), None), ((1, 2), "1 2"), (0, 0), ("auto", "auto")]
)
def test_defaults_that_say_something_are_shown(value: Any, shown: Any) -> None:
    assert shown_default(value) == shown
    assert type(shown_default(value)) is type(shown)


def test_unknown_function_of_a_command() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        commands.nothing  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name: str) -> None:
    for argument in cli.app[name].assemble_argument_collection(parse_docstring=True):
        assert argument.parameter.help or argument.children, argument.name


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, Any]]]:
    """Call the command `probe`, a job with the signature of `evaluate`."""
    seen: dict[str, Any] = {}

    def probe(model: str | None = None, *overrides: str, data: str = "none") -> int:
        seen.update(model=model, overrides=overrides, data=data)
        return len(overrides)

    def call(*words: str, **options: bool) -> dict[str, Any]:
        command = Command("", show=lambda count: seen.update(shown=count), **options)
        cli.app.command(commands.as_function(probe, command), name="probe")
        cli.app(["probe", *words], exit_on_error=False)
        return seen

    yield call
    del cli.app["probe"]


def test_first_parameter_by_name(command: Callable[..., dict[str, Any]]) -> None:
    seen = command("KEY", "1", "--model", "m", "--data", "d", first_by_name=True)
    assert seen == {"model": "m", "overrides": ("KEY", "1"), "data": "d", "shown": 2}


def test_first_parameter_keeps_its_default(command: Callable[..., dict[str, Any]]) -> None:
    assert command("KEY", "1", first_by_name=True)["model"] is None


def test_first_parameter_by_position(command: Callable[..., dict[str, Any]]) -> None:
    seen = command("m", "KEY", "1", first_by_name=False)
    assert (seen["model"], seen["overrides"]) == ("m", ("KEY", "1"))


@pytest.mark.parametrize(("rank", "shows"), [("0", True), ("1", False)])
def test_main_process_shows_the_result(
    rank: str, shows: bool, command: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", rank)
    assert ("shown" in command("m", "KEY", "1")) is shows


def test_several_processes_run_the_same_command_line(
    command: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[tuple[list[str], Processes]] = []

    def launch(arguments: list[str], processes: Processes) -> int:
        launched.append((arguments, processes))
        return ExitCode.INTERRUPTED

    monkeypatch.setattr(commands, "launch", launch)
    monkeypatch.delenv(LAUNCHED_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "argv", ["centernet2", "probe", "m", "--num-gpus", "2"])
    with pytest.raises(SystemExit) as stop:
        command(*sys.argv[2:], launched=True)
    assert stop.value.code == ExitCode.INTERRUPTED
    assert launched == [(["probe", "m", "--num-gpus", "2"], Processes(num_gpus=2))]


def test_each_of_several_processes_does_the_job(
    command: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LAUNCHED_VARIABLE, "job")
    assert command("m", "--num-gpus", "2", launched=True)["model"] == "m"


def test_values_may_begin_with_a_hyphen(capsys: pytest.CaptureFixture[str]) -> None:
    cli.app(["config", "CenterNet2_R50_1x", "SEED", "-1"], exit_on_error=False)
    assert "SEED: -1" in capsys.readouterr().out


def test_config_without_a_name_lists_names(capsys: pytest.CaptureFixture[str]) -> None:
    cli.app(["config"], exit_on_error=False)
    assert "CenterNet2_R50_1x" in capsys.readouterr().out.splitlines()


def test_metrics_without_some_images_exit_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        printing.print_metrics({"bbox/AP": 1.0, "images_skipped": 2})
    assert stop.value.code == ExitCode.INCOMPLETE
    assert "whose objects are left out: 2" in capsys.readouterr().out


def interrupted() -> BaseException:
    from centernet2.exit_codes import TrainingInterrupted

    return TrainingInterrupted("stopped by a signal")


def unevaluated() -> BaseException:
    from centernet2.exit_codes import TrainedWithoutEvaluation

    return TrainedWithoutEvaluation(Path("run/model_final.pth"), ValueError("no image"))


@pytest.mark.parametrize(("make_error", "code", "message"), [
    (lambda: ValueError("--runs has 0"), 2, "--runs has 0"),
    (lambda: FileNotFoundError("no image"), 2, "no image"),
    (lambda: PermissionError(errno.EACCES, "Permission denied", "a/b.json"), 2,
     "a/b.json cannot be used (permission denied); check the path and its permissions"),
    (lambda: OSError(errno.ENOSPC, "No space left on device"), 2,
     "a file cannot be used (no space left on device); free space or choose another place"),
    (KeyboardInterrupt, 130, "interrupted"),
    (interrupted, ExitCode.INTERRUPTED, "stopped by a signal"),
    (lambda: OtherProcessError("process 0 failed"), 1, "process 0 failed"),
    (unevaluated, ExitCode.EVALUATION_FAILED, "evaluation failed (ValueError: no image)"),
])  # fmt: skip
def test_errors_become_exit_codes(
    make_error: Callable[[], BaseException],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(**_: Any) -> None:
        raise make_error()

    monkeypatch.setattr(cli, "app", fail)
    with caplog.at_level(logging.INFO), pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == code
    assert message in caplog.records[-1].getMessage()


WORKER_TRACEBACK = """Caught _ArrayMemoryError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "worker_images.py", line 61, in __getitem__
    raise _ArrayMemoryError(shape, dtype)
numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB for an array with shape (9,)
"""
CUDA_MESSAGE = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 8 GiB"
)
CPU_MESSAGE = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 1099511627776 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.mark.parametrize(("error", "reason"), [
    (MemoryError(), ""),
    (MemoryError("a.tif: the image does not fit"), " (a.tif: the image does not fit)"),
    (RuntimeError(CPU_MESSAGE),
     " (can't allocate memory: you tried to allocate 1099511627776 bytes)"),
    (RuntimeError(CUDA_MESSAGE), " (CUDA out of memory. Tried to allocate 20.00 GiB)"),
    (RuntimeError(WORKER_TRACEBACK),
     " (numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB)"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), " ([Errno 12] Cannot allocate memory)"),
    (Exception("[ONNXRuntimeError] : 6 : std::bad_alloc"),
     " ([ONNXRuntimeError] : 6 : std::bad_alloc)"),
])  # fmt: skip
def test_lack_of_memory_is_said_in_a_sentence(
    error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with caplog.at_level(logging.INFO), pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == ExitCode.REFUSED
    message = caplog.records[-1].getMessage()
    assert message.startswith(
        f"there is not enough memory{reason}; choose a smaller batch (--batch"
    )


def test_libraries_that_lack_memory_are_understood() -> None:
    import numpy as np
    import torch

    sizes = []
    for allocate in (lambda: torch.empty(1 << 50, dtype=torch.int8), lambda: np.empty(1 << 50)):
        try:
            allocate()
        except Exception as error:
            sizes.append(cli.describe_lack_of_memory(error))
    assert cli.describe_lack_of_memory(KeyError("out of memory")) is None
    assert "1125899906842624 bytes)" in str(sizes[0]) and " 8.00 PiB)" in str(sizes[1])


@pytest.mark.parametrize(("folder", "said"), [
    ("attempt_0", ["no such config", "no space on this disk", "no such config"]),
    ("logs", ["no such config"] * 2 + ["no space on this disk", "no such config"]),  # of others
])  # fmt: skip
def test_processes_of_a_job_say_an_error_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    folder: str,
    said: list[str],
) -> None:
    first = "no such config"
    ends = [(0, first), (1, first), (2, "no space on this disk"), (0, first)]  # the last runs again
    for rank, message in ends:
        own = tmp_path / folder / str(rank)
        own.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(cli.ERROR_FILE_VARIABLE, str(own / "error.json"))
        with pytest.raises(SystemExit) as stop, cli.ending():
            raise ValueError(message)
        assert stop.value.code == ExitCode.REFUSED
    found = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert found == said


@pytest.mark.parametrize(("level", "shown", "traceback"), [
    ("", "--num-gpus is 0", False),
    ("DEBUG", "--num-gpus is 0", True),
    ("LOUD", "CENTERNET2_LOG_LEVEL is 'LOUD'; choose one of DEBUG, INFO", False),
])  # fmt: skip
def test_log_level_shows_tracebacks(level: str, shown: str, traceback: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "centernet2", "train", "--num-gpus", "0"],
        env=os.environ | {"CENTERNET2_LOG_LEVEL": level},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert shown in done.stderr
    assert ("Traceback" in done.stderr) is traceback


LOGGING = """
import logging
from centernet2.cli import start_logging

start_logging()
for level in ("INFO", "WARNING", "ERROR"):
    logging.getLogger("centernet2").log(getattr(logging, level), "a line")
"""


@pytest.mark.parametrize(("rank", "level", "shown"), [
    ("0", "", ["INFO", "WARNING", "ERROR"]),
    ("1", "", ["ERROR"]),  # the main process has said the rest
    ("1", "INFO", ["INFO", "WARNING", "ERROR"]),
])  # fmt: skip
def test_warnings_are_shown_once(rank: str, level: str, shown: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOGGING],
        env=os.environ | {"RANK": rank, "CENTERNET2_LOG_LEVEL": level},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [line.split()[2] for line in done.stderr.splitlines()] == shown


@pytest.mark.parametrize("bug", [
    KeyError("a bug"),
    OSError("a bug"),
    RuntimeError("a bug"),
    BrokenPipeError(errno.EPIPE, "Broken pipe"),  # of a connection
])  # fmt: skip
def test_bugs_keep_their_traceback(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise bug

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(type(bug)):
        cli.main()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_a_command_in_a_sentence(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The signal comes twice, as from `timeout`: to the process and to its group."""

    def work(**_: Any) -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(cli, "app", work)
    # a job in the background of a shell script inherits that Ctrl-C is ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit) as stop:
            cli.main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert stop.value.code == ExitCode.KEYBOARD
    assert caplog.records[-1].getMessage() == "interrupted"


@pytest.mark.parametrize(
    ("launched", "error"), [(True, cli.TrainingInterrupted), (False, KeyboardInterrupt)]
)
def test_interrupted_start_of_a_training_run(
    launched: bool,
    error: type[BaseException],
    command: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(processes: Processes) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "should_launch", interrupt)
    with pytest.raises(error):
        command("m", launched=launched)


@pytest.mark.parametrize("option", ["--dry-run", "--eval-only"])
@pytest.mark.parametrize("launches", [True, False])
def test_interruption_of_what_cannot_be_resumed(
    option: str, launches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*words: Any, **options: Any) -> int:
        if launches:
            return ExitCode.INTERRUPTED  # of the processes
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "should_launch", lambda processes: True)
    monkeypatch.setattr(commands, "launch", interrupt)
    monkeypatch.setattr(sys, "argv", ["centernet2", "train", option])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == ExitCode.KEYBOARD


@pytest.mark.parametrize("word", ["--help", "config"])
def test_reader_of_a_pipe_may_leave(word: str) -> None:
    code = (
        "import sys\nfrom centernet2 import cli\nsys.stdin.readline()\n"
        f"sys.argv = ['centernet2', {word!r}]\ncli.main()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.write("go\n")
        process.stdin.close()
        assert process.stderr.read() == ""
        assert process.wait() == ExitCode.INCOMPLETE


def table_of_codes(text: str) -> dict[int, str]:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", text, re.MULTILINE)
    return {int(code): meaning for code, meaning in rows}


def test_one_table_of_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    expected = {int(code): meaning for code, meaning in MEANINGS.items()}
    assert set(expected) == {int(code) for code in ExitCode}
    root = Path(__file__).parents[1]
    assert table_of_codes((root / "README.md").read_text("utf-8")) == expected
    assert list(table_of_codes((root / "README.zh-CN.md").read_text("utf-8"))) == list(expected)
    cli.app(["--help"], result_action="return_none")
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{code}: {meaning}." in shown for code, meaning in expected.items())


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
@pytest.mark.parametrize("words", [["evl"], ["predict"], ["predict", "a.jpg", "--wieghts", "w"]])
def test_wrong_command_lines_exit_with_2(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["centernet2", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2


COMPLETION = """
. "$HOME/.bashrc"
complete_last() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _centernet2; echo "${COMPREPLY[@]}"; }
complete_last centernet2 pre
complete_last centernet2 train --eff
complete_last centernet2 train --effort b
complete_last centernet2 predict photo
"""


def test_one_command_installs_completion(tmp_path: Path) -> None:
    """Of commands, options, choices and paths."""
    (tmp_path / "photo.jpg").touch()
    environment = os.environ | {"HOME": str(tmp_path)}
    words = [sys.executable, "-m", "centernet2", "--install-completion", "--shell", "bash"]
    subprocess.run(words, env=environment, check=True, capture_output=True)
    bash = ["bash", "--norc", "--noprofile", "-c", COMPLETION]
    done = subprocess.run(
        bash, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["predict", "--effort", "best", "photo.jpg"]


def test_end_of_the_process_does_not_search_for_garbage() -> None:
    code = (
        "import atexit, gc, sys\nfrom centernet2 import cli\n"
        "atexit.register(lambda: print(gc.get_freeze_count()))\n"
        "sys.argv = ['centernet2', '--version']\ncli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) > 1000
