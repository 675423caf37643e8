"""Host values on a device, values by label, and precision under autocast."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

PINNED = ("cuda", "npu")  # devices that copy asynchronously from pinned memory alone
READING_LATER = ("mps", "npu")  # devices that read other memory of the host after the call


def constant(values: Sequence[float] | Sequence[Sequence[float]], like: Tensor) -> Tensor:
    """Copy values to the dtype and device of `like`, without waiting where it can."""
    tensor = torch.tensor(values, dtype=like.dtype)
    if like.device.type in PINNED:
        return tensor.pin_memory().to(like.device, non_blocking=True)
    return tensor.to(like.device, non_blocking=can_copy_later(like.device))


def can_copy_later(device: torch.device) -> bool:
    """Whether a copy to a device, from memory not pinned, may be left unfinished.

    Some devices would read memory that is free by then and has other content: see issue 189690 of
    PyTorch.
    """
    return device.type not in READING_LATER


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
