"""Fully sharded training (FSDP2, arXiv 2304.11277).

Each process holds a shard of all weights, gradients and optimizer state. Checkpoints hold whole
tensors, so a training run may be resumed with another number of processes or without sharding.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from centernet2 import distributed


def shard(model: nn.Module, parts: Sequence[nn.Module], device: torch.device) -> None:
    """Shard a model in place over all processes.

    Args:
        model: on its device, with its weights.
        parts: submodules whose weights are gathered only while they compute.
    """
    mesh = init_device_mesh(device.type, (distributed.world_size(),))
    for part in parts:
        if next(part.parameters(), None) is not None:
            fully_shard(part, mesh=mesh)
    fully_shard(model, mesh=mesh)


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Gather all weights on every process inside the context."""
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


def whole(state: Any) -> Any:
    """Gather the shards of a state on every process; call it on all processes."""
    if isinstance(state, DTensor):
        return state.full_tensor()
    if isinstance(state, Mapping):
        return {key: whole(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(map(whole, state))
    return state


def local(tensor: Tensor) -> Tensor:
    """Return a view of the shard of a tensor that this process holds."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Shard a whole tensor like another tensor, if that one is sharded."""
    if isinstance(like, DTensor) and not isinstance(tensor, DTensor) and tensor.shape == like.shape:
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
