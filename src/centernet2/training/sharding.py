"""Fully sharded training (FSDP2, arXiv 2304.11277).

Each process holds a shard of all weights, gradients and optimizer state. Checkpoints hold whole
tensors, so a training run may be resumed with another number of processes or without sharding.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor, nn

from centernet2 import distributed

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

TENSORS = "torch.distributed.tensor"  # takes half a second to import


def shard(model: nn.Module, parts: Sequence[nn.Module], device: torch.device) -> None:
    """Shard a model in place over all processes.

    Args:
        model: on its device, with its weights.
        parts: submodules whose weights are gathered only while they compute.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (distributed.world_size(),))
    for part in parts:
        if next(part.parameters(), None) is not None:
            fully_shard(part, mesh=mesh)
    fully_shard(model, mesh=mesh)


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Gather all weights on every process inside the context."""
    from torch.distributed.fsdp import FSDPModule

    sharded = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for module in sharded:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in sharded:
            module.reshard()
            module.set_reshard_after_forward(module is not model, recurse=False)


def is_sharded(value: object) -> TypeGuard[DTensor]:
    """Whether a value is a tensor of which this process holds a shard."""
    return TENSORS in sys.modules and isinstance(value, sys.modules[TENSORS].DTensor)


def whole(state: Any) -> Any:
    """Gather the shards of a state on every process; call it on all processes."""
    if is_sharded(state):
        return state.full_tensor()
    if isinstance(state, Mapping):
        return {key: whole(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(map(whole, state))
    return state


def local(tensor: Tensor) -> Tensor:
    """Return a view of the shard of a tensor that this process holds."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Shard a whole tensor like another tensor, if that one is sharded."""
    if is_sharded(like) and not is_sharded(tensor) and tensor.shape == like.shape:
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
    return tensor


def shard_optimizer_state(
    state: Mapping[str, Any], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Shard the whole `state_dict` of an optimizer like its parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    sharded = {
        index: {
            name: shard_like(value, parameters[index]) if isinstance(value, Tensor) else value
            for name, value in values.items()
        }
        for index, values in state["state"].items()
    }
    return {**state, "state": sharded}
