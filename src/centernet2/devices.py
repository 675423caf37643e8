"""Accelerators and precision, through PyTorch's device-neutral interface."""

import os
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from accelerate import Accelerator

Precision = Literal["fp32", "bf16", "fp16"]

# how long processes wait for each other, such as for metrics that one of them computes; the
# default of NCCL is 10 minutes
PATIENCE = timedelta(hours=1)
JOB_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
ALONE = {"RANK": "0", "WORLD_SIZE": "1"}  # values of a job of one process, which needs no others


def choose_device(name: str | None) -> torch.device:
    """Return the device of a name; None: the accelerator if present, else the CPU."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is not None and name in (None, accelerator.type) and "LOCAL_RANK" in os.environ:
        return _device_of_process(accelerator.type, int(os.environ["LOCAL_RANK"]))
    if name is None:
        return accelerator or torch.device("cpu")
    available = available_devices()
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(
            f"device '{name}' is unknown to this PyTorch; available: {', '.join(available)} "
            f"({_device_hint(name)})"
        ) from None
    if f"{device.type}:{device.index or 0}" not in [*available, "cpu:0"]:
        raise ValueError(f"device '{name}' is not available; available: {', '.join(available)}")
    return device


def available_devices() -> list[str]:
    """Return the names of the CPU and of all accelerators."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    count = 0 if accelerator is None else torch.accelerator.device_count()
    return ["cpu", *(f"{accelerator}:{index}" for index in range(count))]


def _device_of_process(kind: str, rank: int) -> torch.device:
    """Return the device of one of the processes that torchrun started on this machine."""
    count = torch.accelerator.device_count()
    if rank >= count:
        raise ValueError(
            f"this machine has more processes than its {count} devices of {kind}; start one for "
            "each (--num-gpus), or choose --device cpu"
        )
    return torch.device(kind, rank)


def _require_own_device(device: torch.device) -> None:
    """Raise ValueError if processes that torchrun started would share a device."""
    rank = os.environ.get("LOCAL_RANK", "")
    if rank.isdigit() and device.index != int(rank):
        raise ValueError(
            f"device '{device}' is one for all processes of this machine, and each needs its own: "
            f"leave out the number (--device {device.type})"
        )


def _device_hint(name: str) -> str:
    if name.isdigit():
        return f"the card of that number is cuda:{name}"
    if name.replace(",", "").isdigit():
        return "several cards are used by several processes, such as --num-gpus 2"
    return "an Ascend NPU needs the package torch-npu"


def create_accelerator(
    device: torch.device, *, find_unused_parameters: bool = False
) -> "Accelerator":
    """Join the process group that torchrun started, if any, on this device.

    Precision is not chosen here: accelerate would patch `model.forward` and keep the choice in
    global state, so a second training run in the process could not choose another. See `autocast`
    and `grad_scaler`. Our own networks have no parameters that are unused, whatever is in a batch.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

    _require_all_variables(device)
    if device.type != "cpu" and device.index is not None:
        _require_own_device(device)
        torch.accelerator.set_device_index(device.index)
    ddp = DistributedDataParallelKwargs(
        broadcast_buffers=False,  # they are constants or the statistics of one process
        find_unused_parameters=find_unused_parameters,
        gradient_as_bucket_view=True,  # gradients are exchanged without a copy
    )
    group = InitProcessGroupKwargs(timeout=PATIENCE)
    accelerator = Accelerator(cpu=device.type == "cpu", kwargs_handlers=[ddp, group])
    kind = accelerator.device.type  # fixed for the lifetime of the process
    if kind != device.type:
        raise ValueError(f"this process already trains on {kind}: use a new one for {device.type}")
    joined = dist.get_world_size() if _is_in_group() else 1
    if accelerator.num_processes > joined:
        raise ValueError("this process has left the others, as after an error; start all anew")
    if accelerator.num_processes < joined:
        raise ValueError(
            f"accelerate cannot join {joined} processes on {kind}; use one process, or --device cpu"
        )
    return accelerator


def _is_in_group() -> bool:
    return dist.is_available() and dist.is_initialized()


def _require_all_variables(device: torch.device) -> None:
    """Raise ValueError if only some of the variables of a job are set.

    Otherwise each process would train on its own, and all would write the same files.
    """
    given = [name for name in JOB_VARIABLES[:3] if name in os.environ]
    if _is_in_group() or all(os.environ[name] == ALONE.get(name) for name in given):
        return
    # on the CPU accelerate has defaults for these
    optional = ("LOCAL_RANK", "MASTER_PORT") if device.type == "cpu" else ()
    missing = [name for name in JOB_VARIABLES if name not in (*os.environ, *optional)]
    if missing:
        raise ValueError(
            f"of the environment variables of several processes, {' and '.join(given)} "
            f"{'is' if len(given) == 1 else 'are'} set, but not {' and '.join(missing)}; start "
            f"them with torchrun or --num-gpus, which set all, or unset {' and '.join(given)} to "
            "use one process"
        )


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return a context in which matrix products run in the given precision."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")


class UnitScaler(torch.amp.GradScaler):
    """A gradient scaler of scale 1: it only skips steps with non-finite gradients.

    float32 and bfloat16 need no scaling; with it they share float16's path through the loop. It has
    no state, so a run may be resumed in another precision.
    """

    def __init__(self, device: str) -> None:
        super().__init__(device, init_scale=1.0)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        super().update(1.0 if new_scale is None else new_scale)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass


def grad_scaler(device: torch.device, precision: Precision) -> torch.amp.GradScaler:
    """Return the gradient scaler for training in this precision."""
    return torch.amp.GradScaler(device.type) if precision == "fp16" else UnitScaler(device.type)


def synchronize(device: torch.device) -> None:
    """Wait until an accelerator has finished its work, so that a clock can be read."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    """Reset `peak_memory` of an accelerator; on the CPU it covers the whole process."""
    if _counts_memory(device):
        torch.accelerator.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: of an accelerator, else of the process.

    0 if the system or PyTorch does not count it.
    """
    if device.type != "cpu":
        return torch.accelerator.max_memory_allocated(device) if _counts_memory(device) else 0
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _counts_memory(device: torch.device) -> bool:
    """Whether PyTorch counts a device's memory; earlier releases do not for MPS.

    See issue 186430 of PyTorch.
    """
    if device.type == "cpu":
        return False
    try:
        torch.accelerator.memory_stats(device)
    except RuntimeError:
        return False
    return True
