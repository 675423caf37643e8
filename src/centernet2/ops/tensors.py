"""Numbers of the host on a device, and the number format in which operators run there."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def constant(values: Sequence[float] | Sequence[Sequence[float]], like: Tensor) -> Tensor:
    """Numbers as a tensor of the type and on the device of `like`, copied without a wait."""
    tensor = torch.tensor(values, dtype=like.dtype)
    if like.device.type == "cuda":  # only a copy from pinned memory is asynchronous
        tensor = tensor.pin_memory()
    return tensor.to(like.device, non_blocking=True)


def lower_precision(x: Tensor, dtype: torch.dtype) -> AbstractContextManager[object]:
    """A context in which matrix products on the device of `x` run in `dtype`."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(x.device.type, dtype)


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """A context in which operators on the device of `x` keep the number format of their inputs."""
    kind = x.device.type
    if not torch.amp.is_autocast_available(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)


def product_dtype(x: Tensor) -> torch.dtype:
    """The number format of a matrix product with `x`: autocast's where autocast is on."""
    kind = x.device.type
    lower = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if lower else x.dtype
