"""Start the processes of a job, one per accelerator, on one machine or several."""

import os
import socket
import sys
from collections.abc import Sequence

SIGNAL_EXIT_CODE = 128  # plus the number of the signal that ended the job, as in a shell
# Time to finish a step and save a checkpoint after a signal, in seconds; PyTorch's default is 30.
SHUTDOWN_SECONDS = 300
LAUNCHED_VARIABLE = "TORCHELASTIC_RUN_ID"  # set in processes that torchrun or `launch` started


def should_launch(*, num_gpus: int, num_machines: int) -> bool:
    """Whether this process should start the processes of the job."""
    if num_gpus < 1 or num_machines < 1:
        raise ValueError(
            f"--num-gpus is {num_gpus} and --num-machines {num_machines}; both must be at least 1"
        )
    return num_gpus * num_machines > 1 and LAUNCHED_VARIABLE not in os.environ


def launch(
    arguments: Sequence[str],
    *,
    num_gpus: int,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str = "auto",
) -> int:
    """Run `centernet2 arguments ...` in all processes; return the exit code.

    When one process fails, the others on its machine are stopped and its exit code is returned. A
    signal to this process is forwarded to all of them.

    Args:
        num_gpus: processes on this machine, one per accelerator (or all on the CPU).
        num_machines, machine_rank: number of machines, and the rank of this one.
        dist_url: address at which the machine of rank 0 waits for the others, HOST:PORT or
            tcp://HOST:PORT. "auto" is a free port of this machine.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if not 0 <= machine_rank < num_machines:
        raise ValueError(
            f"--machine-rank is {machine_rank}; it must be below --num-machines {num_machines}"
        )
    endpoint = _endpoint(dist_url, num_machines)
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN_SECONDS))
    config = LaunchConfig(
        min_nodes=num_machines,
        max_nodes=num_machines,
        nproc_per_node=num_gpus,
        run_id="centernet2",
        rdzv_backend="static",
        rdzv_endpoint=endpoint,
        rdzv_configs={"rank": machine_rank, "timeout": 900},
        max_restarts=0,
        monitor_interval=0.5,
    )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_gpus)))
    try:
        elastic_launch(config, sys.executable)("-m", "centernet2", *arguments)
    except ChildFailedError as error:
        return max(failure.exitcode for failure in error.failures.values()) or 1
    except SignalException as signal:
        return SIGNAL_EXIT_CODE + int(signal.sigval)
    return 0


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
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
