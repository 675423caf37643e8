"""How many operations a second a device reaches in matrix products: what convolutions can hope for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from centernet2.profiling.stage_clock import measure_whole

SIDES = (1024, 2048, 4096, 8192)
TRIES = 5
ENOUGH_SECONDS = 0.2  # for one product; a larger one would be no faster


@dataclass(frozen=True)
class Peak:
    """The best of all sizes."""

    operations_per_second: float  # a multiply-add as two
    side: int  # of the square matrices


def measure_peak(device: torch.device, dtype: torch.dtype) -> Peak:
    """The peak of square matrices in a number format, float32 as convolutions compute it on the device."""
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
    return min(measure_whole(lambda: torch.mm(a, b, out=out), device) for _ in range(TRIES))


@contextmanager
def _float32_as_in_convolutions(device: torch.device) -> Iterator[None]:
    """On NVIDIA GPUs convolutions use TF32 unless they are told otherwise, and matrix products do not."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
