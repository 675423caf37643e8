"""Packed arrays that worker processes share instead of holding one copy each."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from centernet2.structures import IntArray

SENT_STATE = "_sent_state"  # attribute that holds the state sent to workers


class SharedArrays:
    """Base class of records of arrays that worker processes share.

    Forked workers share the memory of their parent: an array holds no Python objects, whose
    reference counts would be written to. For spawned workers the records are pickled, with their
    arrays as tensors, which PyTorch puts into shared memory.
    """

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] | None = vars(self).get(SENT_STATE)
        if state is None:
            state = {name: _to_send(value) for name, value in vars(self).items()}
            # kept: all workers map this memory, and it must live until they do
            object.__setattr__(self, SENT_STATE, state)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, _received(value))


def offsets_of(counts: npt.ArrayLike) -> IntArray:  # [I + 1]
    """Turn the number of rows of each image into the first row of each, and the end."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])


class _SentArray:
    """An array in the form of a tensor, as it is sent to workers."""

    def __init__(self, tensor: Tensor, dtype: str) -> None:
        self.tensor, self.dtype = tensor, dtype


def _to_send(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    array = np.ascontiguousarray(value)
    flat = array.reshape(-1).view(np.uint8) if array.dtype.kind == "S" else array
    writable = flat if flat.flags.writeable else flat.copy()
    return _SentArray(torch.from_numpy(writable), array.dtype.str)


def _received(value: Any) -> Any:
    if not isinstance(value, _SentArray):
        return value
    array: npt.NDArray[Any] = value.tensor.numpy()
    return array.view(value.dtype)
