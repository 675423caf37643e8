"""Collective operations of processes; in a single process they do nothing.

torchrun and accelerate start the processes and create the process group.
"""

import atexit
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def is_distributed() -> bool:
    """Whether this process belongs to a process group."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Rank of this process among all processes."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if is_distributed() else 1


def is_main_process() -> bool:
    """Whether this process has rank 0."""
    return rank() == 0


def reduce_mean(tensor: Tensor) -> Tensor:
    """Average a tensor over all processes; no gradient flows through the result."""
    if world_size() == 1:
        return tensor
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total / world_size()


def copy_from_main_process(tensors: Iterable[Tensor]) -> None:
    """Copy the values of tensors from the main process to all others, in place."""
    for tensor in tensors if world_size() > 1 else ():
        dist.broadcast(tensor, src=0)


def gather_objects(obj: T) -> list[T]:
    """Gather an object from each process on all processes, in order of rank."""
    if world_size() == 1:
        return [obj]
    gathered: list[T] = [obj] * world_size()
    dist.all_gather_object(gathered, obj)
    return gathered


def gather_on_main_process(obj: T) -> list[T]:
    """Gather an object of each process on the main one, by rank; [] on the others."""
    if world_size() == 1:
        return [obj]
    gathered: list[T] | None = [obj] * world_size() if is_main_process() else None
    dist.gather_object(obj, gathered)
    return gathered or []


def barrier() -> None:
    """Wait for all processes."""
    if world_size() > 1:
        dist.barrier()


class OtherProcessError(RuntimeError):
    """Another process has failed; its own log has the error."""


@contextmanager
def failing_together() -> Iterator[None]:
    """Let all processes fail if the block fails on one; it must not use collectives.

    Otherwise the others would wait for one that has left. Errors that may be handled do so alone:
    interruptions are not caught.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as caught:
        error = caught
    texts = gather_objects(None if error is None else f"{type(error).__name__}: {error}")
    if error is not None:
        raise error
    for number, text in enumerate(texts):
        if text is not None:
            raise OtherProcessError(f"process {number} failed: {text}")


@contextmanager
def closing_process_group() -> Iterator[None]:
    """Leave the process group at the end of the process: other blocks may follow.

    After an error a group of gloo is left at once: the others would wait for this process. Other
    backends wait for all processes, so that the error would not be seen; the end of the process
    ends their connections.
    """
    try:
        yield
    except BaseException:
        atexit.unregister(_leave_process_group)
        if is_distributed() and dist.get_backend() == "gloo":
            dist.destroy_process_group()
        raise
    atexit.register(_leave_process_group)


def _leave_process_group() -> None:
    if is_distributed():
        dist.destroy_process_group()
