"""Which implementation of an operator a kind of device runs: torchvision's kernel, its own, or ours."""

import importlib.util
import logging
from functools import cache
from typing import Literal

import torch
import torchvision  # its import registers its operators

logger = logging.getLogger(__name__)

Backend = Literal["torchvision", "torch_npu", "ours"]
OPERATORS = ("nms", "roi_align", "deform_conv2d")  # torchvision's that this package calls
NPU_KERNELS = ("nms", "roi_align")  # torch-npu registers kernels of its own, under other names
SLOW_ON_CPU = ("roi_align", "deform_conv2d")  # torchvision's kernels, beside ours
DESCRIPTIONS: dict[Backend, str] = {
    "torchvision": "torchvision's kernel",
    "torch_npu": "torch-npu's kernel",
    "ours": "plain tensor operations on the device",
}


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
@cache
def backend(operator: str, device_type: str) -> Backend:
    """What runs one of `OPERATORS` on tensors of a kind of device, compiled programs left out.

    It is said once in the log where an accelerator lacks torchvision's kernel.
    """
    chosen = _choose(operator, device_type)
    if chosen != "torchvision" and device_type != "cpu":
        version = torchvision.__version__
        logger.info(
            "%s: torchvision %s has no kernel for %s; used instead: %s",
            operator,
            version,
            device_type,
            DESCRIPTIONS[chosen],
        )
    return chosen


def has_torchvision_kernel(operator: str, device_type: str) -> bool:
    """Whether torchvision has registered a kernel of `operator` for tensors of that kind of device."""
    key = torch._C._dispatch_key_for_device(device_type)
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(f"torchvision::{operator}", key))


def _choose(operator: str, device_type: str) -> Backend:
    if device_type == "cpu" and operator in SLOW_ON_CPU:
        return "ours"
    if has_torchvision_kernel(operator, device_type):
        return "torchvision"
    if (
        device_type == "npu"
        and operator in NPU_KERNELS
        and importlib.util.find_spec("torch_npu") is not None
    ):
        return "torch_npu"
    return "ours"
