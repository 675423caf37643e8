"""Options of malloc that return freed memory to the system."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from centernet2.kernels.malloc import keep_freed_memory, return_freed_memory

KEPT_OR_NOT = """
import sys, torch
from centernet2.kernels import malloc
def resident(): return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
getattr(malloc, sys.argv[1])(torch.device("cpu"))
start = resident()
maps = [torch.ones(2**23) for _ in range(8)]  # of 32 MiB
assert resident() - start > 240
last = torch.ones(2**23)
del maps
print(resident() - start)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory of the process is read from /proc")
@pytest.mark.parametrize(
    ("function", "kept"), [(keep_freed_memory, True), (return_freed_memory, False)]
)
def test_freed_memory(function: Callable[[torch.device], None], kept: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KEPT_OR_NOT, function.__name__],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (float(done.stdout) > 200) is kept
