"""The command `doctor`."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from centernet2.structures import Target

PACKAGES = ("centernet2", "torch", "torchvision", "torch-npu", "timm", "accelerate")
BACKENDS = ("gloo", "nccl", "xccl", "hccl", "mpi")
MODEL, SIDE, BATCH, STEPS = "CenterNet2_R18_small", 320, 2, 3  # of the step that is timed


def doctor(*, device: str | None = None) -> list[str]:
    """Say what this machine offers: devices, versions, operators, time of a step.

    Parameters
    ----------
    device
        cuda, npu, xpu, mps or cpu; default: the best one available.
    """
    from centernet2.devices import choose_device

    chosen = choose_device(device)
    return [*_versions(), *_devices(chosen), *_operators(chosen), _step(chosen)]


def _versions() -> Iterator[str]:
    yield f"python        {platform.python_version()} on {platform.machine()}, {platform.system()}"
    for name in PACKAGES:
        try:
            yield f"{name:13} {version(name)}"
        except PackageNotFoundError:
            if name != "torch-npu":
                yield f"{name:13} not installed"


def _devices(device: torch.device) -> Iterator[str]:
    import torch
    import torch.distributed as dist

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    count = 0 if accelerator is None else torch.accelerator.device_count()
    present = ["cpu", *(f"{accelerator}:{index}" for index in range(count))]
    yield f"devices       {', '.join(present)}; used: {device}"
    there = [name for name in BACKENDS if dist.is_available() and dist.is_backend_available(name)]
    yield f"distributed   {', '.join(there) or 'none'}; for {device.type}: {_backend_of(device)}"


def _backend_of(device: torch.device) -> str:
    import torch.distributed as dist

    chosen = dist.get_default_backend_for_device(device) if dist.is_available() else "none"
    return str(chosen)


def _operators(device: torch.device) -> Iterator[str]:
    from centernet2.kernels.dispatch import describe_kernels

    yield from describe_kernels(device)
    native = device.type != "cpu"
    yield f"sync bn       {'native' if native else 'no: PyTorch synchronises batch statistics on accelerators only'}"


def _step(device: torch.device) -> str:
    """Times a forward and a backward pass of a small model on random pixels."""
    import torch

    from centernet2.builders.network import build_detector
    from centernet2.config import load_config

    torch.manual_seed(0)
    model = build_detector(load_config(MODEL)).to(device).train()
    images = [
        torch.randint(0, 256, (3, SIDE, SIDE), dtype=torch.uint8).to(device) for _ in range(BATCH)
    ]
    boxes = torch.tensor([[20.0, 20, 120, 160], [150, 60, 300, 280]], device=device)
    targets: list[Target] = [
        {"boxes": boxes, "labels": torch.zeros(2, dtype=torch.int64, device=device)}
    ] * BATCH
    seconds = []
    for _ in range(STEPS + 1):  # the first one warms up
        started = time.perf_counter()
        total = torch.stack(list(model(images, targets).values())).sum()
        torch.autograd.backward(total)
        finite = bool(total.isfinite())
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        seconds.append(time.perf_counter() - started)
    outcome = "losses finite" if finite else "losses NOT finite"
    return f"step          {min(seconds[1:]):.3f} s: {MODEL}, {BATCH} images of {SIDE} x {SIDE}, {outcome}"
