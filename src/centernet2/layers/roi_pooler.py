"""Fixed-size features of regions, from the pyramid level that fits each region."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from centernet2.kernels.operators import pyramid_roi_align
from centernet2.ops.boxes import box_area

CANONICAL_SIZE = 224  # a region of this size (square root of its area) ...
CANONICAL_LEVEL = 4  # ... is pooled from the map of stride 2**4 (FPN paper, eq. 1)


class RoIPooler(nn.Module):
    """RoIAlign (arXiv 1703.06870) over a feature pyramid (arXiv 1612.03144, section 4.2).

    Args:
        strides: of the levels, finest first.
        resolution: height and width of the result.
        sampling_ratio: samples per cell and axis; 0 takes as many as the cell has pixels.
        pooler_type: ROIAlignV2 has pixel centres at 0.5; ROIAlign at 0.
    """

    def __init__(
        self, *, strides: Sequence[int], resolution: int, sampling_ratio: int, pooler_type: str
    ) -> None:
        super().__init__()
        if pooler_type not in ("ROIAlignV2", "ROIAlign"):
            raise ValueError(f"POOLER_TYPE is '{pooler_type}'; choose 'ROIAlignV2' or 'ROIAlign'")
        self.strides = list(strides)
        self.resolution = resolution
        self.sampling_ratio = sampling_ratio
        self.aligned = pooler_type == "ROIAlignV2"

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Features [R, C, resolution, resolution] of boxes, [R_i, 4] for image i, from maps [N, C, h, w] per level."""
        regions = torch.cat(
            [torch.cat([b.new_full((len(b), 1), i), b], dim=1) for i, b in enumerate(boxes)]
        )  # [R, 5]: image, xyxy
        return pyramid_roi_align(
            features,
            regions,
            assign_levels(regions[:, 1:], self.strides),
            size=self.resolution,
            scales=[1 / stride for stride in self.strides],
            sampling_ratio=self.sampling_ratio,
            aligned=self.aligned,
        )


def assign_levels(boxes: Tensor, strides: Sequence[int]) -> Tensor:
    """Index [R] into `strides` of the level to pool each box [R, 4] from."""
    lowest, highest = (stride.bit_length() - 1 for stride in (strides[0], strides[-1]))
    level = torch.floor(
        CANONICAL_LEVEL + torch.log2(box_area(boxes).sqrt() / CANONICAL_SIZE + 1e-8)
    )
    return level.clamp(lowest, highest).long() - lowest
