"""Fast kernels of operators, and the table that chooses among them by device.

The table is KERNELS in dispatch.py. operators.py has the functions that models call; each runs the
kernel that the table gives.
"""

from centernet2.kernels.capabilities import (
    convert_memory_format,
    device_name,
    fast_memory_format,
    is_bf16_fast,
    is_synchronous,
    not_compiled,
    require_compiler,
)
from centernet2.kernels.dispatch import describe_kernels
from centernet2.kernels.malloc import keep_freed_memory, return_freed_memory
from centernet2.kernels.operators import (
    conv2d,
    deformable_conv2d,
    draw_heatmap,
    nms_mask,
    nms_masks,
    nms_per_class,
    paste_box_masks,
    pyramid_roi_align,
)

__all__ = [
    "conv2d",
    "convert_memory_format",
    "deformable_conv2d",
    "describe_kernels",
    "device_name",
    "draw_heatmap",
    "fast_memory_format",
    "is_bf16_fast",
    "is_synchronous",
    "keep_freed_memory",
    "nms_mask",
    "nms_masks",
    "nms_per_class",
    "not_compiled",
    "paste_box_masks",
    "pyramid_roi_align",
    "require_compiler",
    "return_freed_memory",
]
