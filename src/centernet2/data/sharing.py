"""Arrays that worker processes share instead of holding one copy each."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

PACKED = "_packed"  # attribute that holds what workers were sent


class SharedArrays:
    """Base of records of arrays that are handed to worker processes.

    Forked workers see the memory of their parent anyway: there is no Python object in an array whose reference count
    would be written to. Where workers are spawned, the records are pickled, and tensors then travel as shared memory,
    which arrays do not: so they travel as tensors.
    """

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] | None = vars(self).get(PACKED)
        if state is None:
            state = {name: _packed(value) for name, value in vars(self).items()}
            # all workers get the same memory, which must not go before they have it
            object.__setattr__(self, PACKED, state)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, _unpacked(value))


class _Packed:
    """An array as a tensor."""

    def __init__(self, tensor: Tensor, dtype: str) -> None:
        self.tensor, self.dtype = tensor, dtype


def _packed(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    array = np.ascontiguousarray(value)
    flat = array.reshape(-1).view(np.uint8) if array.dtype.kind == "S" else array
    return _Packed(torch.from_numpy(flat if flat.flags.writeable else flat.copy()), array.dtype.str)


def _unpacked(value: Any) -> Any:
    if not isinstance(value, _Packed):
        return value
    array: npt.NDArray[Any] = value.tensor.numpy()
    return array.view(value.dtype)
