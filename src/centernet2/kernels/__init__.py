"""Fast kernels of operators, and the table that chooses among them by device.

The table is KERNELS in dispatch.py. operators.py has the functions that models call; each runs the
kernel that the table gives.
"""

from centernet2.kernels.capabilities import convert_memory_format as convert_memory_format
from centernet2.kernels.capabilities import device_name as device_name
from centernet2.kernels.capabilities import fast_memory_format as fast_memory_format
from centernet2.kernels.capabilities import is_bf16_fast as is_bf16_fast
from centernet2.kernels.capabilities import is_synchronous as is_synchronous
from centernet2.kernels.capabilities import not_compiled as not_compiled
from centernet2.kernels.capabilities import require_compiler as require_compiler
from centernet2.kernels.dispatch import describe_kernels as describe_kernels
from centernet2.kernels.malloc import keep_freed_memory as keep_freed_memory
from centernet2.kernels.malloc import return_freed_memory as return_freed_memory
from centernet2.kernels.operators import conv2d as conv2d
from centernet2.kernels.operators import deformable_conv2d as deformable_conv2d
from centernet2.kernels.operators import draw_heatmap as draw_heatmap
from centernet2.kernels.operators import nms_mask as nms_mask
from centernet2.kernels.operators import nms_masks as nms_masks
from centernet2.kernels.operators import nms_per_class as nms_per_class
from centernet2.kernels.operators import paste_box_masks as paste_box_masks
from centernet2.kernels.operators import pyramid_roi_align as pyramid_roi_align
