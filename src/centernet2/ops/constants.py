"""Numbers of the host on a device."""

from collections.abc import Sequence

import torch
from torch import Tensor


def constant(values: Sequence[float] | Sequence[Sequence[float]], like: Tensor) -> Tensor:
    """The numbers as a tensor of `like`'s type on its device, copied without a wait for what the device is at."""
    tensor = torch.tensor(values, dtype=like.dtype)
    if (
        like.device.type == "cuda"
    ):  # only from memory that the system cannot move is a copy asynchronous
        tensor = tensor.pin_memory()
    return tensor.to(like.device, non_blocking=True)
