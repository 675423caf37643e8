"""The table of kernels, and the function that chooses among them.

An operator runs the first kernel of its row that is available for the device and the situation. To
add one, write a function with the operator's signature and add it to `KERNELS`.
"""

import importlib.util
import logging
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from centernet2.kernels import vendor
from centernet2.kernels.conv_cpu import conv2d_cpu, conv2d_torch
from centernet2.kernels.deform_conv_cpu import deform_conv_cpu
from centernet2.kernels.heatmap_cpu import heatmap_cpu
from centernet2.kernels.mask_paste_whole import paste_masks_whole
from centernet2.kernels.nms_cpu import nms_cpu
from centernet2.kernels.roi_align_cpu import roi_align_cpu
from centernet2.ops.heatmap import gaussian_heatmap
from centernet2.ops.masks import paste_masks

logger = logging.getLogger(__name__)

Situation = Literal["eager", "compiled", "exported"]
Rule = Callable[[str, str, Situation], bool]  # operator, device type, situation


class Kernel(NamedTuple):
    """One implementation of an operator."""

    run: Callable[..., Tensor]
    suits: Rule
    description: str


CHOSEN: dict[tuple[str, str, Situation], str] = {}  # cache of `choose`


def has_torchvision_kernel(operator: str, device_type: str) -> bool:
    """Whether torchvision has a kernel of an operator for a type of device."""
    vendor.load_torchvision_operators()
    key = torch._C._dispatch_key_for_device(device_type)
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(f"torchvision::{operator}", key))


def _always(operator: str, device_type: str, situation: Situation) -> bool:
    return True


def _on_cpu(operator: str, device_type: str, situation: Situation) -> bool:
    return device_type == "cpu"


def _on_eager_cpu(operator: str, device_type: str, situation: Situation) -> bool:
    return device_type == "cpu" and situation == "eager"


def _on_cpu_unless_exported(operator: str, device_type: str, situation: Situation) -> bool:
    return device_type == "cpu" and situation != "exported"


def _in_torchvision(operator: str, device_type: str, situation: Situation) -> bool:
    return has_torchvision_kernel(operator, device_type)


def _in_torch_npu(operator: str, device_type: str, situation: Situation) -> bool:
    return device_type == "npu" and importlib.util.find_spec("torch_npu") is not None


KERNELS: dict[str, dict[str, Kernel]] = {
    "conv2d": {
        "winograd": Kernel(
            conv2d_cpu,
            _on_cpu_unless_exported,
            "Winograd's algorithm for large 3 x 3 convolutions, else PyTorch's kernel",
        ),
        "torch": Kernel(conv2d_torch, _always, "PyTorch's kernel"),
    },
    "deform_conv2d": {
        "cpu": Kernel(deform_conv_cpu, _on_eager_cpu, "row gathering and matrix products"),
        "torchvision": Kernel(
            vendor.deform_conv_torchvision, _in_torchvision, "torchvision's kernel"
        ),
        "portable": Kernel(deform_conv_cpu, _always, "plain tensor operations on the device"),
    },
    "heatmap": {
        "cpu": Kernel(heatmap_cpu, _on_cpu, "peak by peak while objects are few"),
        "portable": Kernel(gaussian_heatmap, _always, "all objects at all locations"),
    },
    "nms": {
        "cpu": Kernel(
            nms_cpu,
            _on_cpu,
            "sorting by size and place for 1000 boxes or more at an IoU of 0.85 or more, else "
            "torchvision's kernel in steps, until enough boxes stay",
        ),
        "torchvision": Kernel(vendor.nms_torchvision, _in_torchvision, "torchvision's kernel"),
        "torch_npu": Kernel(vendor.nms_npu, _in_torch_npu, "torch-npu's kernel"),
        "portable": Kernel(vendor.nms_portable, _always, "plain tensor operations on the device"),
    },
    "paste_masks": {
        "cpu": Kernel(paste_masks, _on_cpu, "the pixels inside each box"),
        "whole": Kernel(paste_masks_whole, _always, "all pixels of the image at once"),
    },
    "roi_align": {
        "cpu": Kernel(roi_align_cpu, _on_eager_cpu, "matrix products"),
        "torchvision": Kernel(
            vendor.roi_align_torchvision, _in_torchvision, "torchvision's kernel"
        ),
        "torch_npu": Kernel(vendor.roi_align_npu, _in_torch_npu, "torch-npu's kernel"),
        "portable": Kernel(roi_align_cpu, _always, "plain tensor operations on the device"),
    },
}


def kernel_for(operator: str, x: Tensor, situation: Situation | None = None) -> Kernel:
    """Return an operator's kernel on the device of `x`; default: current situation."""
    situation = current_situation() if situation is None else situation
    return KERNELS[operator][choose(operator, x.device.type, situation)]


def current_situation() -> Situation:
    """Return whether the program runs eagerly, is being compiled or is being exported."""
    if torch.compiler.is_exporting():
        return "exported"
    return "compiled" if torch.compiler.is_compiling() else "eager"


def choose(operator: str, device_type: str, situation: Situation) -> str:
    """Choose the kernel of an operator for a type of device: its name in `KERNELS`."""
    key = (operator, device_type, situation)
    if key not in CHOSEN:
        CHOSEN[key] = _choose(*key)
    return CHOSEN[key]


# What torch.compiler.assume_constant_result sets. That function imports the compiler, which takes
# as long as to import torch.
choose._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _choose(operator: str, device_type: str, situation: Situation) -> str:
    row = KERNELS[operator]
    name = next(
        name for name, kernel in row.items() if kernel.suits(operator, device_type, situation)
    )
    if "torchvision" in row and name != "torchvision" and device_type != "cpu":
        logger.info(
            "%s: torchvision %s has no kernel for %s; used instead: %s",
            operator,
            version("torchvision"),
            device_type,
            row[name].description,
        )
    return name


def describe_kernels(device: torch.device) -> Iterator[str]:
    """Yield one line per operator that describes its eager kernel on a device."""
    for operator, row in KERNELS.items():
        yield f"{operator:14}{row[choose(operator, device.type, 'eager')].description}"
