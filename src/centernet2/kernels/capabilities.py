"""What a device does well: number formats, memory formats, torch.compile, reads without a wait."""

import platform
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Function = TypeVar("Function", bound=Callable[..., Any])


def device_name(device: torch.device) -> str:
    """The product name of an accelerator, or the instruction set of this CPU."""
    if device.type == "cpu":
        return f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    named = getattr(torch.get_device_module(device), "get_device_name", None)
    return str(named(device)) if named is not None else device.type


def is_bf16_fast(device: torch.device) -> bool:
    """Whether the device has instructions for bf16; only a GPU and the CPU can be asked."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def is_synchronous(device: torch.device) -> bool:
    """Whether the device is done when a call returns, so that reading a value stalls nothing."""
    return device.type == "cpu"


def fast_memory_format(model: nn.Module, device: torch.device) -> torch.memory_format:
    """The memory format in which the convolutions of a model are fastest on a device.

    On the CPU that is channels_last, up to twice as fast. But there batch normalisation sums a
    channels_last batch pixel by pixel in single precision, which makes gradients a hundred times
    less accurate: a model that trains with batch statistics stays contiguous.
    """
    takes_statistics = any(isinstance(m, _BatchNorm) and m.training for m in model.modules())
    is_last = device.type == "cpu" and not takes_statistics
    return torch.channels_last if is_last else torch.contiguous_format


def require_compiler(device: torch.device) -> None:
    """Raise ValueError where torch.compile does not work on a device, found by a trial."""
    try:
        torch.compile(torch.neg)(torch.zeros(1, device=device))
    except Exception as error:  # of many kinds, by device and by what is missing
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"torch.compile does not work on {device.type}: {reason}. Install a C++ compiler such "
            "as g++ (a GPU needs Triton too), or leave out --compile, in training SOLVER.COMPILE"
        ) from error


def not_compiled(*, recursive: bool) -> Callable[[Function], Function]:
    """Keep a function, and with `recursive` all that it calls, out of compiled programs."""
    return cast(
        Callable[[Function], Function],
        partial(torch.compiler.disable, recursive=recursive),
    )
