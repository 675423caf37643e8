"""Options of the C library for returning memory of CPU tensors (Linux with glibc)."""

import ctypes
import sys
from typing import Any

import torch

MALLOPT = {"M_TRIM_THRESHOLD": -1, "M_MMAP_THRESHOLD": -3, "M_MMAP_MAX": -4}  # of glibc's malloc.h
MAX_INT = 2**31 - 1
MIN_RETURNED = 2**24  # bytes


def keep_freed_memory(device: torch.device) -> None:
    """Keep freed memory of CPU tensors in the process, for the next image.

    Otherwise the allocation of feature maps takes a tenth of the time of inference. Memory that is
    free at the time of the call is returned.
    """
    if device.type == "cpu":
        _set_malloc(M_MMAP_MAX=0, M_TRIM_THRESHOLD=MAX_INT)
        if (libc := _glibc()) is not None:
            libc.malloc_trim(0)


def return_freed_memory(device: torch.device) -> None:
    """Return freed memory of CPU tensors of 16 MiB or more to the system.

    In training, feature maps live long and would fragment the memory: the peak is a sixth lower.
    Memory of smaller tensors is kept, because the system clears all that it gives again: with a
    limit of 4 MiB the peak is a tenth lower still, and a step takes an eighth longer.
    """
    if device.type == "cpu":
        _set_malloc(M_MMAP_MAX=2**16, M_MMAP_THRESHOLD=MIN_RETURNED, M_TRIM_THRESHOLD=MAX_INT)


def _set_malloc(**options: int) -> None:
    if (libc := _glibc()) is not None:
        for name, value in options.items():
            libc.mallopt(MALLOPT[name], value)


def _glibc() -> Any:
    """Return the C library; None if it lacks these functions."""
    library: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") else None
