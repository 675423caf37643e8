"""What a machine offers: versions, devices, and the time of a training step."""

import platform
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import torch
import torch.distributed as dist
from torch import nn

from centernet2.structures import Target

PACKAGES = ("centernet2", "torch", "torchvision", "torch-npu", "timm", "accelerate")
PROCESS_GROUP_BACKENDS = ("gloo", "nccl", "xccl", "hccl", "mpi")
STEP_SIDE, STEP_IMAGES, TIMED_STEPS = 320, 2, 3


def describe_versions() -> Iterator[str]:
    """List Python and the packages that matter."""
    yield f"python        {platform.python_version()} on {platform.machine()}, {platform.system()}"
    for name in PACKAGES:
        try:
            yield f"{name:13} {version(name)}"
        except PackageNotFoundError:
            if name != "torch-npu":
                yield f"{name:13} not installed"


def describe_devices(device: torch.device) -> Iterator[str]:
    """List the devices, and the backends through which their processes communicate."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    count = 0 if accelerator is None else torch.accelerator.device_count()
    present = ["cpu", *(f"{accelerator}:{index}" for index in range(count))]
    yield f"devices       {', '.join(present)}; used: {device}"
    available, chosen = [], "none"
    if dist.is_available():
        available = [name for name in PROCESS_GROUP_BACKENDS if dist.is_backend_available(name)]
        chosen = dist.get_default_backend_for_device(device)
    yield f"distributed   {', '.join(available) or 'none'}; for {device.type}: {chosen}"


def time_training_step(model: nn.Module, device: torch.device) -> str:
    """Time forward and backward passes of a model in training mode on random pixels."""
    shape = (3, STEP_SIDE, STEP_SIDE)
    images = [
        torch.randint(0, 256, shape, dtype=torch.uint8).to(device) for _ in range(STEP_IMAGES)
    ]
    boxes = torch.tensor([[20.0, 20, 120, 160], [150, 60, 300, 280]], device=device)
    labels = torch.zeros(2, dtype=torch.int64, device=device)
    targets: list[Target] = [{"boxes": boxes, "labels": labels}] * STEP_IMAGES
    seconds = []
    for _ in range(1 + TIMED_STEPS):  # the first one warms up
        started = time.perf_counter()
        total = torch.stack(list(model(images, targets).values())).sum()
        torch.autograd.backward(total)
        finite = bool(total.isfinite())
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        seconds.append(time.perf_counter() - started)
    size = f"{STEP_IMAGES} images of {STEP_SIDE} x {STEP_SIDE}"
    losses = "losses finite" if finite else "losses NOT finite"
    return f"{min(seconds[1:]):.3f} s, {size}, {losses}"
