"""The peak of a device in matrix products: an upper bound for convolutions."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from centernet2.profiling.records import Peak
from centernet2.profiling.stage_clock import measure_whole

SIDES = (1024, 2048, 4096, 8192)
RUNS_PER_SIDE = 5
ENOUGH_SECONDS = 0.2  # for one product; a larger one would be no faster


def measure_peak(device: torch.device, dtype: torch.dtype) -> Peak:
    """Measure products of square matrices, with the precision of convolutions."""
    best = Peak(0.0, 0)
    for side in SIDES:
        with _float32_as_in_convolutions(device):
            seconds = _product_seconds(side, device, dtype)
        if 2 * side**3 / seconds > best.operations_per_second:
            best = Peak(2 * side**3 / seconds, side)
        if seconds > ENOUGH_SECONDS:
            break
    return best


@torch.inference_mode()
def _product_seconds(side: int, device: torch.device, dtype: torch.dtype) -> float:
    a, b = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
    out = torch.empty_like(a)
    torch.mm(a, b, out=out)  # warm-up
    return min(measure_whole(lambda: torch.mm(a, b, out=out), device) for _ in range(RUNS_PER_SIDE))


@contextmanager
def _float32_as_in_convolutions(device: torch.device) -> Iterator[None]:
    """Let float32 matrix products use TF32 wherever convolutions do."""
    if device.type != "cuda":
        yield
        return
    matmul = torch.backends.cuda.matmul
    convolution = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    matmul.fp32_precision = convolution.fp32_precision
    try:
        yield
    finally:
        matmul.fp32_precision = before
