"""Collective operations of several processes; in a single one they do nothing.

The process group is made by torchrun and accelerate, which start the processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    return dist.get_rank() if is_distributed() else 0


def local_rank() -> int:
    """Rank of this process among those on its machine."""
    return dist.get_node_local_rank(fallback_rank=0) if is_distributed() else 0


def world_size() -> int:
    return dist.get_world_size() if is_distributed() else 1


def is_main_process() -> bool:
    return rank() == 0


def reduce_mean(tensor: Tensor) -> Tensor:
    """The mean over all processes; the gradient does not flow through it."""
    if world_size() == 1:
        return tensor
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total / world_size()


def gather_objects(obj: T) -> list[T]:
    """Gather an object from each process, in order of rank, on all of them."""
    if world_size() == 1:
        return [obj]
    gathered: list[T] = [obj] * world_size()
    dist.all_gather_object(gathered, obj)
    return gathered


def barrier() -> None:
    if world_size() > 1:
        dist.barrier()


@contextmanager
def leaving_group() -> Iterator[None]:
    """Leave the process group at the end of the block, after an error too.

    A process that has ended would otherwise leave the others waiting.
    """
    try:
        yield
    finally:
        shut_down()


def shut_down() -> None:
    """Leave the process group, if there is one."""
    if is_distributed():
        dist.destroy_process_group()
