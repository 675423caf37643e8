"""The number format of a step, where autocast alone would choose the wrong one."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """A context in which operators on the device of `x` keep the number format of their inputs."""
    kind = x.device.type
    return (
        torch.autocast(kind, enabled=False)
        if torch.amp.is_autocast_available(kind)
        else nullcontext()
    )


def product_dtype(x: Tensor) -> torch.dtype:
    """The number format of a matrix product with `x`: autocast's where it is on."""
    kind = x.device.type
    lower = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if lower else x.dtype
