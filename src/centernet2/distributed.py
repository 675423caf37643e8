"""The few collective operations that this package needs; in a single process each does nothing.

Whoever starts the training (torchrun and accelerate) makes the process group.
"""

from typing import TypeVar

import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    return dist.get_rank() if is_distributed() else 0


def local_rank() -> int:
    """The number of this process among those on the same machine."""
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
    """What each process gave (anything that can be pickled), in order of rank, on every process."""
    if world_size() == 1:
        return [obj]
    gathered: list[T] = [obj] * world_size()
    dist.all_gather_object(gathered, obj)
    return gathered


def barrier() -> None:
    if world_size() > 1:
        dist.barrier()


def shut_down() -> None:
    """Leaves the process group, so that a process that ends does not leave the others waiting."""
    if is_distributed():
        dist.destroy_process_group()
