"""RoIAlign of RoIs, each from the pyramid level that fits its size."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from centernet2.kernels import pyramid_roi_align
from centernet2.ops.boxes import box_area

# an RoI of this size (square root of its area) is pooled from this level (FPN paper, eq. 1)
CANONICAL_SIZE = 224
CANONICAL_LEVEL = 4  # of stride 2**4
POOLER_TYPES = ("ROIAlignV2", "ROIAlign")


@dataclass(frozen=True)
class PoolerOptions:
    """Pooling of RoI features."""

    resolution: int = 14  # cells per axis
    sampling_ratio: int = 0  # samples per cell and axis; 0: as many as the cell has pixels
    pooler_type: str = "ROIAlignV2"  # has pixel centers at 0.5; ROIAlign has them at 0


class RoIPooler(nn.Module):
    """RoIAlign over a feature pyramid (arXiv 1703.06870; 1612.03144, section 4.2).

    Args:
        strides: strides of the levels, finest first.
        options: resolution and sampling.
    """

    def __init__(self, strides: Sequence[int], options: PoolerOptions = PoolerOptions()) -> None:
        super().__init__()
        if options.pooler_type not in POOLER_TYPES:
            raise ValueError(
                f"pooler_type is '{options.pooler_type}'; choose one of {', '.join(POOLER_TYPES)}"
            )
        self.strides = list(strides)
        self.resolution = options.resolution
        self.sampling_ratio = options.sampling_ratio
        self.aligned = options.pooler_type == "ROIAlignV2"

    def forward(self, levels: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Pool features [R, channels, resolution, resolution] of RoIs.

        Args:
            levels: feature maps [N, channels, h, w], finest first.
            rois: [R, 5], see `number_boxes`.
        """
        return pyramid_roi_align(
            levels,
            rois,
            assign_levels(rois[:, 1:], self.strides),
            size=self.resolution,
            scales=[1 / stride for stride in self.strides],
            sampling_ratio=self.sampling_ratio,
            aligned=self.aligned,
        )


def number_boxes(boxes: Sequence[Tensor]) -> Tensor:
    """Join the boxes [R_i, 4] of all images: RoIs [R, 5], index of the image and xyxy."""
    parts = [torch.cat([b.new_full((len(b), 1), i), b], dim=1) for i, b in enumerate(boxes)]
    return torch.cat(parts)


def assign_levels(boxes: Tensor, strides: Sequence[int]) -> Tensor:
    """Choose the level to pool each box [R, 4] from: indices [R] into `strides`."""
    lowest, highest = (stride.bit_length() - 1 for stride in (strides[0], strides[-1]))
    size = box_area(boxes).sqrt()
    level = torch.floor(CANONICAL_LEVEL + torch.log2(size / CANONICAL_SIZE + 1e-8))
    return level.clamp(lowest, highest).long() - lowest
