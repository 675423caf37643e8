"""Starting the processes of a job, and its exit code."""

import signal
import socket
from collections.abc import Callable

import pytest
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from centernet2 import launch
from centernet2.exit_codes import ExitCode
from centernet2.launch import Processes


def failed(*codes: int) -> ChildFailedError:
    failures = {
        rank: ProcessFailure(local_rank=rank, pid=rank, exitcode=code, error_file="none")
        for rank, code in enumerate(codes)
    }
    return ChildFailedError("centernet2", failures)


@pytest.fixture
def ended_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | None], None]:
    """Let the processes of a job end by an error, or by none."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "30")

    def end_by(error: Exception | None) -> None:
        def run(*words: str) -> None:
            assert words == ("-m", "centernet2", "train")
            if error is not None:
                raise error

        name = "torch.distributed.launcher.api.elastic_launch"
        monkeypatch.setattr(name, lambda config, entrypoint: run)

    return end_by


def test_killed_processes_are_named(
    ended_by: Callable[[Exception | None], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Their own log cannot say why they have ended; that of the others does."""
    ended_by(failed(1, -signal.SIGKILL, -signal.SIGTERM))
    launch.launch(["train"], Processes(num_gpus=3))
    assert [record.getMessage() for record in caplog.records] == ["process 1 was ended by SIGKILL"]


@pytest.mark.parametrize(("error", "code"), [
    (None, 0),
    (failed(2, 2), 2),
    (failed(1), 1),
    (failed(-signal.SIGKILL, ExitCode.INTERRUPTED), 1),  # as by the out-of-memory killer
    (failed(1, ExitCode.INTERRUPTED, -signal.SIGTERM), 1),  # the others are told to stop
    (failed(ExitCode.INTERRUPTED, ExitCode.INTERRUPTED), ExitCode.INTERRUPTED),
    (SignalException("terminated", signal.SIGTERM), ExitCode.INTERRUPTED),
])  # fmt: skip
def test_exit_code_of_a_job(
    ended_by: Callable[[Exception | None], None], error: Exception | None, code: int
) -> None:
    ended_by(error)
    assert launch.launch(["train"], Processes(num_gpus=2)) == code


def test_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"):
        monkeypatch.setenv(name, "1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ValueError, match=rf"not met at --dist-url {address} \(.*; it must be"):
            launch.launch(["train"], Processes(num_machines=2, dist_url=address))


def test_processes_start_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(launch.LAUNCHED_VARIABLE, raising=False)
    assert launch.should_launch(Processes(num_machines=2))
    assert not launch.should_launch(Processes())
    monkeypatch.setenv(launch.LAUNCHED_VARIABLE, "job")
    assert not launch.should_launch(Processes(num_gpus=2))


@pytest.mark.parametrize(("processes", "message"), [
    (Processes(num_gpus=0), "--num-gpus is 0 and --num-machines 1; both must be at least 1"),
    (Processes(num_machines=2, machine_rank=2), "--machine-rank is 2; it must be below"),
    (Processes(machine_rank=1), "--machine-rank is 1; it must be below --num-machines 1"),
    (Processes(num_machines=2), "--dist-url HOST:PORT is needed"),
    (Processes(num_machines=2, dist_url="here"), "write HOST:PORT"),
])  # fmt: skip
def test_wrong_numbers_are_refused(processes: Processes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        if launch.should_launch(processes):
            launch.launch(["train"], processes)
