"""Capabilities of devices: dtypes, memory formats, torch.compile."""

import platform
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch._C._dynamo import eval_frame
from torch.nn.modules.batchnorm import _BatchNorm

Function = TypeVar("Function", bound=Callable[..., Any])
_Model = TypeVar("_Model", bound=nn.Module)


def device_name(device: torch.device) -> str:
    """Return the product name of an accelerator, or the instruction set of this CPU."""
    if device.type == "cpu":
        return f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    named = getattr(torch.get_device_module(device), "get_device_name", None)
    return str(named(device)) if named is not None else device.type


def is_bf16_fast(device: torch.device) -> bool:
    """Whether a device has instructions for bf16; known for CUDA and the CPU only."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return True
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False  # as on Macs
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def is_synchronous(device: torch.device) -> bool:
    """Whether the device is done when a call returns, so that reads never wait."""
    return device.type == "cpu"


def fast_memory_format(model: nn.Module, device: torch.device) -> torch.memory_format:
    """Return the memory format in which a model's convolutions are fastest.

    On the CPU that is channels_last, up to twice as fast. However, its batch normalization sums a
    channels_last batch pixel by pixel in single precision, which makes gradients a hundred times
    less accurate: a model that trains with batch statistics stays contiguous.
    """
    takes_statistics = any(isinstance(m, _BatchNorm) and m.training for m in model.modules())
    is_last = device.type == "cpu" and not takes_statistics
    return torch.channels_last if is_last else torch.contiguous_format


def convert_memory_format(model: _Model, memory_format: torch.memory_format) -> _Model:
    """Convert the four-dimensional weights of a model, in place.

    `nn.Module.to` also converts weights of 3-D convolutions, which have no such format.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.to(memory_format=memory_format)
    return model


def require_compiler(device: torch.device) -> None:
    """Raise ValueError if a trial of torch.compile fails on a device."""
    try:
        torch.compile(torch.neg)(torch.zeros(1, device=device))
    except Exception as error:  # the type depends on the device and on what is missing
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"torch.compile does not work on {device.type}: {reason}. Install a C++ compiler such "
            "as g++ (a GPU also needs Triton), or leave compile out"
        ) from error


def not_compiled(*, recursive: bool) -> Callable[[Function], Function]:
    """Exclude a function from compilation, with `recursive` also all that it calls.

    As torch.compiler.disable, which would import the compiler; that takes as long as to import
    torch.
    """
    run, skip = eval_frame._FrameAction.DEFAULT, eval_frame._FrameAction.SKIP
    strategy = eval_frame._FrameExecStrategy(skip, skip if recursive else run)

    def exclude(function: Function) -> Function:
        eval_frame.set_code_exec_strategy(function.__code__, strategy)
        cast(Any, function)._torchdynamo_disable = True  # for compiled callers
        return function

    return exclude
