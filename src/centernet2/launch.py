"""Start the processes of a job, one per accelerator, on one machine or several."""

import logging
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cyclopts import Parameter

from centernet2.exit_codes import ExitCode
from centernet2.option_groups import PROCESSES
from centernet2.threads import divide_threads

# Time to finish a step and save a checkpoint after a signal, in seconds; PyTorch's default is 30.
SHUTDOWN_SECONDS = 300
MEETING_SECONDS = 900  # for which machines wait for each other at the start
LAUNCHED_VARIABLE = "TORCHELASTIC_RUN_ID"  # set in processes that torchrun or `launch` started
logger = logging.getLogger(__name__)


@Parameter(name="*", group=PROCESSES)
@dataclass(frozen=True)
class Processes:
    """Processes of a job, which the command line starts.

    Parameters
    ----------
    num_gpus
        Processes on this machine, one for each accelerator (or on the CPU).
    num_machines
        Number of machines; start the command on each.
    machine_rank
        Index of this machine, from 0.
    dist_url
        HOST:PORT of machine 0; needed with several machines.
    """

    num_gpus: int = 1
    num_machines: int = 1
    machine_rank: int = 0
    dist_url: str = "auto"


ONE_PROCESS = Processes()


def should_launch(processes: Processes) -> bool:
    """Whether this process should start the processes of the job."""
    num_gpus, num_machines = processes.num_gpus, processes.num_machines
    if num_gpus < 1 or num_machines < 1:
        raise ValueError(
            f"--num-gpus is {num_gpus} and --num-machines {num_machines}; both must be at least 1"
        )
    if not 0 <= processes.machine_rank < num_machines:
        raise ValueError(
            f"--machine-rank is {processes.machine_rank}; it must be below --num-machines "
            f"{num_machines}"
        )
    return num_gpus * num_machines > 1 and LAUNCHED_VARIABLE not in os.environ


def launch(arguments: Sequence[str], processes: Processes) -> int:
    """Run `centernet2 arguments ...` in all processes; return the exit code.

    When one process fails, the others on its machine are stopped. A signal to this process is
    forwarded to all of them, and ExitCode.INTERRUPTED is returned.

    Raises:
        ValueError: the machines do not find each other.
    """
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    num_machines = processes.num_machines
    endpoint = _endpoint(processes.dist_url, num_machines)
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN_SECONDS))
    config = LaunchConfig(
        min_nodes=num_machines,
        max_nodes=num_machines,
        nproc_per_node=processes.num_gpus,
        run_id="centernet2",
        rdzv_backend="static",
        rdzv_endpoint=endpoint,
        rdzv_configs={"rank": processes.machine_rank, "timeout": MEETING_SECONDS},
        max_restarts=0,
        monitor_interval=0.5,
    )
    # Its report of a failed process repeats what that process has logged itself.
    logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)
    divide_threads(processes.num_gpus)
    try:
        elastic_launch(config, sys.executable)("-m", "centernet2", *arguments)
    except ChildFailedError as error:
        for rank, failure in error.failures.items():
            if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:  # the others' end
                logger.error("process %d was ended by %s", rank, failure.signal_name())
        return common_exit_code(failure.exitcode for failure in error.failures.values())
    except SignalException:
        return ExitCode.INTERRUPTED
    except DistError as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ValueError(
            f"the machines have not met at --dist-url {endpoint} ({reason}); it must be an address "
            "of machine 0 that all reach, with a free port, and all --num-machines "
            f"{num_machines} must start within {MEETING_SECONDS // 60} minutes, each with its own "
            "--machine-rank"
        ) from error
    return 0


def common_exit_code(codes: Iterable[int]) -> int:
    """Return the exit code of a job from those of its failed processes.

    A process that is stopped because another one failed saves a checkpoint and counts as
    interrupted, so the job counts as interrupted only if all of them do. A negative code is the
    signal that killed a process.
    """
    failed = [code for code in codes if code != ExitCode.INTERRUPTED]
    return max(1, *failed) if failed else ExitCode.INTERRUPTED


def _endpoint(dist_url: str, num_machines: int) -> str:
    if dist_url == "auto":
        if num_machines > 1:
            raise ValueError(
                "--dist-url HOST:PORT is needed with several machines: "
                "the address of machine rank 0"
            )
        return f"127.0.0.1:{_free_port()}"
    address = dist_url.removeprefix("tcp://")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"--dist-url is '{dist_url}'; write HOST:PORT, for example 10.0.0.1:29500")
    return address


def _free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
