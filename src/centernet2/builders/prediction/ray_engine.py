"""Prediction on Ray Data: shards of images go to workers, tables come back."""

import logging
import os
import signal
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from centernet2.builders.prediction.attempts import Attempts
from centernet2.builders.prediction.cluster_worker import Task, Worker
from centernet2.runtime.exported_model import EXPORTED_SUFFIXES

ACCELERATORS = {"cuda": "GPU", "xpu": "GPU", "npu": "NPU"}  # device -> resource of Ray
FAILED_SHARDS = 100  # that a run tolerates before it is stopped


def import_ray() -> Any:
    """Import Ray Data; a ValueError names the extra."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ValueError("--engine ray needs Ray; pip install 'centernet2[ray]'") from error
    return ray


@contextmanager
def connected() -> Iterator[None]:
    """Connect to the cluster of RAY_ADDRESS or `ray start`, or else start Ray here.

    A connection that exists already is used and kept.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray reports to its makers
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    before = signal.getsignal(signal.SIGTERM)  # which Ray would replace, in the main thread
    try:
        ray.init(log_to_driver=False, logging_level=logging.WARNING, include_dashboard=False)
    except ConnectionError as error:
        raise ValueError(f"the Ray cluster cannot be reached ({error})") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)
    try:
        yield
    finally:
        ray.shutdown()


def detect_on_ray(shards: Sequence[Any], task: Task) -> Generator[Any, None, None]:
    """Yield the table that a `Worker` returns for each shard, in any order.

    Shards that fail are left out: their workers have raised an error, or have ended on them again
    and again.
    """
    ray = import_ray()
    lasting = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
    attempts = lasting(Attempts).remote()
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.max_errored_blocks = FAILED_SHARDS
    with ray.data.DataContext.current(context):
        found = ray.data.from_arrow(list(shards)).map_batches(
            Worker,
            fn_constructor_args=(task, lambda shard: ray.get(attempts.begin.remote(shard))),
            batch_size=max(map(len, shards)),
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(min_size=1, max_tasks_in_flight_per_actor=2),
            **worker_resources(task, ray.cluster_resources()),
        )
        yield from found.iter_batches(batch_size=None, batch_format="pyarrow")


def worker_resources(task: Task, available: Mapping[str, float]) -> dict[str, Any]:
    """Return what each worker occupies, as arguments of Ray: CPUs, and an accelerator.

    Args:
        available: resources of the cluster; a detector of PyTorch without --device uses its GPUs.
    """
    cpus, device = task.options["threads"], task.options["device"]
    is_exported = Path(task.weights).suffix in EXPORTED_SUFFIXES
    if device is None and "GPU" in available and not is_exported:
        device = "cuda"
    return resources_of(cpus, device)


def resources_of(cpus: int, device: str | None) -> dict[str, Any]:
    """Return what a process with cores and a device occupies, as arguments of Ray."""
    resource = ACCELERATORS.get(str(device).split(":")[0])
    if resource == "GPU":
        return {"num_cpus": cpus, "num_gpus": 1}
    if resource is not None:
        return {"num_cpus": cpus, "resources": {resource: 1}}
    return {"num_cpus": cpus}
