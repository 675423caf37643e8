"""Host values on a device, values by label, and precision under autocast."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def constant(values: Sequence[float] | Sequence[Sequence[float]], like: Tensor) -> Tensor:
    """Copy values to the dtype and device of `like`, without waiting for the device."""
    tensor = torch.tensor(values, dtype=like.dtype)
    if like.device.type == "cuda":  # only a copy from pinned memory is asynchronous
        tensor = tensor.pin_memory()
    return tensor.to(like.device, non_blocking=True)


def of_labels(values: Tensor, labels: Tensor) -> Tensor:
    """Select the values [R, ...] of each row's label from [R, C, ...] or [R, 1, ...].

    Labels from C, such as that of background, select the last ones.
    """
    if values.shape[1] == 1:
        return values[:, 0]
    rows = torch.arange(labels.shape[0], device=labels.device)  # len() fixes it in exported graphs
    return values[rows, labels.clamp(max=values.shape[1] - 1)]


def lower_precision(x: Tensor, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Return a context in which matrix products on the device of `x` run in `dtype`."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(x.device.type, dtype)


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Return a context without autocast on the device of `x`."""
    kind = x.device.type
    if not torch.amp.is_autocast_available(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)


def product_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype of a matrix product with `x`: that of autocast if it is on."""
    kind = x.device.type
    lower = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if lower else x.dtype
