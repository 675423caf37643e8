"""Accelerators and number formats, through PyTorch's device-neutral interface: cuda, npu, xpu, mps or cpu."""

import ctypes
import logging
import os
import platform
import sys
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16", "fp16"]
MALLOPT = {"M_TRIM_THRESHOLD": -1, "M_MMAP_THRESHOLD": -3, "M_MMAP_MAX": -4}  # of glibc's malloc.h
LARGEST = 2**31 - 1
DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def choose_device(name: str | None) -> torch.device:
    """The device of that name, or the machine's accelerator (else the CPU) when no name is given."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is not None and name in (None, accelerator.type) and "LOCAL_RANK" in os.environ:
        return torch.device(
            accelerator.type, int(os.environ["LOCAL_RANK"])
        )  # torchrun: one for each process
    if name is None:
        return accelerator or torch.device("cpu")
    present = ["cpu"]
    if accelerator is not None:
        present += [
            f"{accelerator.type}:{index}" for index in range(torch.accelerator.device_count())
        ]
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(
            f"device '{name}' is unknown to this PyTorch; present: {', '.join(present)} "
            "(an Ascend NPU needs the package torch-npu)"
        ) from None
    if f"{device.type}:{device.index or 0}" not in [*present, "cpu:0"]:
        raise ValueError(f"device '{name}' is not there; present: {', '.join(present)}")
    return device


def memory_format(model: nn.Module, device: torch.device) -> torch.memory_format:
    """How a model's weights, and with them its maps, lie in memory on a device: on the CPU with the channels of a pixel
    together.

    Its convolutions are up to twice as fast so, because nothing is rearranged. But its batch normalisation then sums in
    single precision one pixel after the other, which costs a hundred times the accuracy of the gradients: a model that
    trains with one keeps its channels apart.
    """
    takes_statistics = any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in model.modules()
    )
    return (
        torch.channels_last
        if device.type == "cpu" and not takes_statistics
        else torch.contiguous_format
    )


def keep_freed_memory(device: torch.device) -> None:
    """Lets the process keep the memory that tensors of the CPU give back, for the next image's maps of the same sizes:
    to get each map from the system anew takes a tenth of the time of finding objects. What is free already goes back.
    (On Linux, with glibc.)
    """
    if device.type == "cpu":
        _set_malloc(M_MMAP_MAX=0, M_TRIM_THRESHOLD=LARGEST)
        if (libc := _glibc()) is not None:
            libc.malloc_trim(0)


def return_freed_memory(device: torch.device) -> None:
    """Lets the memory of tensors of the CPU go back to the system when they go, so that no gaps add up in the course of
    a training, whose maps live long: its peak is a tenth lower. (On Linux, with glibc.)
    """
    if device.type == "cpu":
        _set_malloc(M_MMAP_MAX=2**16, M_MMAP_THRESHOLD=2**22, M_TRIM_THRESHOLD=LARGEST)


def _set_malloc(**options: int) -> None:
    """Sets options of the C library, which names them by numbers."""
    if (libc := _glibc()) is not None:
        for name, value in options.items():
            libc.mallopt(MALLOPT[name], value)


def _glibc() -> Any:
    """The C library; None: another one, without these functions."""
    library: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") else None


def require_compiler(device: torch.device) -> None:
    """Raises ValueError where torch.compile cannot work on a device, for want of a compiler, as a trial shows."""
    try:
        torch.compile(torch.neg)(torch.zeros(1, device=device))
    except Exception as error:  # of many kinds, by device and by what is missing
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"torch.compile does not work on {device.type}: {reason}. Install a C++ compiler such as g++ (a GPU needs "
            "Triton too), or leave out --compile, in training SOLVER.COMPILE"
        ) from error


def create_accelerator(
    device: torch.device, *, find_unused_parameters: bool = False
) -> "Accelerator":
    """Joins the processes that torchrun started, if any, and places the models of this one on the device.

    A model of which some parameters stay without a gradient must be searched for them after each forward pass: our own
    networks have none, whatever is in a batch.

    Precision stays out of it: accelerate would patch `model.forward` and keep the choice in global state, so that a
    second training in the same process could not make another. See `autocast` and `grad_scaler`.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs

    if device.type != "cpu" and device.index is not None:
        torch.accelerator.set_device_index(device.index)
    ddp = DistributedDataParallelKwargs(
        broadcast_buffers=False,  # they are constants or the statistics of one process
        find_unused_parameters=find_unused_parameters,
        gradient_as_bucket_view=True,  # gradients are exchanged where they lie
    )
    accelerator = Accelerator(cpu=device.type == "cpu", kwargs_handlers=[ddp])
    if (
        accelerator.device.type != device.type
    ):  # it settles on one kind of device for the life of the process
        raise ValueError(
            f"this process already trains on {accelerator.device.type}: use a new one for {device.type}"
        )
    return accelerator


def choose_precision(device: torch.device, *, amp: bool, dtype: str) -> Precision:
    """The number format of a training; on the CPU, which has no fast float16, mixed precision is bfloat16."""
    if dtype not in ("bf16", "fp16"):
        raise ValueError(f"SOLVER.AMP.DTYPE is '{dtype}'; choose bf16 or fp16")
    if not amp:
        return "fp32"
    if device.type == "cpu" and dtype == "fp16":
        logger.warning("mixed precision on the CPU is bf16, not SOLVER.AMP.DTYPE fp16")
        dtype = "bf16"
    if dtype == "bf16" and not is_bf16_fast(device):
        better = "SOLVER.AMP.DTYPE fp16" if device.type == "cuda" else "SOLVER.AMP.ENABLED False"
        logger.warning("%s only emulates bf16, which is slow: set %s", device_name(device), better)
    return "fp16" if dtype == "fp16" else "bf16"


def is_bf16_fast(device: torch.device) -> bool:
    """Whether a GPU or the CPU has instructions for bf16; others are taken to have some."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which matrix products run in the lower precision, if one is chosen."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")


class UnitScaler(torch.amp.GradScaler):
    """A gradient scaler whose scale stays 1: what is left is the check that skips a step with non-finite gradients.

    float32 and bfloat16 need no scaling, and so they share float16's path through the loop.
    """

    def __init__(self, device: str) -> None:
        super().__init__(device, init_scale=1.0)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        super().update(1.0 if new_scale is None else new_scale)


def grad_scaler(device: torch.device, precision: Precision) -> torch.amp.GradScaler:
    """The scaler that a training step in this precision needs."""
    return torch.amp.GradScaler(device.type) if precision == "fp16" else UnitScaler(device.type)


def synchronize(device: torch.device) -> None:
    """Waits until the device has done all that it was given, so that a clock can be read; the CPU always has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def device_name(device: torch.device) -> str:
    """What a person calls the device: the name of its kind, or the instructions that this CPU has."""
    if device.type == "cpu":
        return f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    named = getattr(torch.get_device_module(device), "get_device_name", None)
    return str(named(device)) if named is not None else device.type


def reset_peak_memory(device: torch.device) -> None:
    """Lets `peak_memory` start anew on an accelerator; the CPU's figure stays that of the process's whole life."""
    if device.type != "cpu":
        torch.accelerator.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """The most bytes that were in use at once: tensors on an accelerator, the whole process on the CPU (0: unknown)."""
    if device.type != "cpu":
        return torch.accelerator.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
