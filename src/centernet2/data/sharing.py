"""Arrays that worker processes share instead of holding one copy each."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

SENT = "_sent"  # attribute that holds what workers were sent


class SharedArrays:
    """Base class of records of arrays that worker processes read.

    Forked workers see the memory of their parent anyway: an array holds no Python object whose
    reference count would be written to. Where workers are spawned, the records are pickled, and
    their arrays travel as tensors, which PyTorch puts into shared memory.
    """

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] | None = vars(self).get(SENT)
        if state is None:
            state = {name: _to_send(value) for name, value in vars(self).items()}
            # all workers get the same memory, which must live until they have it
            object.__setattr__(self, SENT, state)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, _received(value))


class _SentArray:
    """An array as a tensor."""

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
