"""What a machine offers: versions, devices, and the time of a training step."""

import platform
from collections.abc import Iterator

import torch
import torch.distributed as dist

from centernet2.devices import available_devices
from centernet2.models.detector import Detector
from centernet2.profiling.stage_clock import measure_whole
from centernet2.profiling.workload import make_images, make_targets
from centernet2.versions import installed_versions

PACKAGES = ("centernet2", "torch", "torchvision", "torch-npu", "timm", "accelerate")
PROCESS_GROUP_BACKENDS = ("gloo", "nccl", "xccl", "hccl", "mpi")
STEP_SIDE, STEP_IMAGES, TIMED_STEPS = 320, 2, 3


def describe_versions() -> Iterator[str]:
    """List Python and the packages that matter."""
    yield f"python        {platform.python_version()} on {platform.machine()}, {platform.system()}"
    installed = installed_versions(PACKAGES)
    for name in PACKAGES:
        if name in installed or name != "torch-npu":
            yield f"{name:13} {installed.get(name, 'not installed')}"


def describe_devices(device: torch.device) -> Iterator[str]:
    """List the devices, and the backends through which their processes communicate."""
    yield f"devices       {', '.join(available_devices())}; used: {device}"
    available, chosen = [], "none"
    if dist.is_available():
        available = [name for name in PROCESS_GROUP_BACKENDS if dist.is_backend_available(name)]
        chosen = dist.get_default_backend_for_device(device)
    yield f"distributed   {', '.join(available) or 'none'}; for {device.type}: {chosen}"


def time_training_step(model: Detector, device: torch.device) -> str:
    """Time forward and backward passes of a model in training mode on random pixels."""
    images = make_images(STEP_IMAGES, (STEP_SIDE, STEP_SIDE))
    targets = make_targets(model, images)
    totals = []

    def step() -> None:
        totals.append(torch.stack(list(model(images, targets).values())).sum())
        torch.autograd.backward(totals[-1])

    seconds = [measure_whole(step, device) for _ in range(1 + TIMED_STEPS)]
    size = f"{STEP_IMAGES} images of {STEP_SIDE} x {STEP_SIDE}"
    losses = "losses finite" if totals[-1].isfinite() else "losses NOT finite"
    return f"{min(seconds[1:]):.3f} s, {size}, {losses}"  # the first one warms up
