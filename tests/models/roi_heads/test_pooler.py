"""RoIAlign over a pyramid, of boxes of any size."""

import math

import torch

from centernet2.models.roi_heads.pooler import RoIPooler


def test_boxes_of_diverged_training_are_pooled() -> None:
    pooler = RoIPooler([8, 16, 32])
    levels = [torch.ones(1, 3, 32 // stride, 32 // stride) for stride in (1, 2, 4)]
    corners = [(-1e15, -1e15, 1e15, 1e15), (0, 0, math.inf, math.inf), (math.nan,) * 4]
    usual = (8.0, 8.0, 40.0, 40.0)
    rois = torch.tensor([(0.0, *box) for box in [*corners, usual]])
    pooled = pooler(levels, rois)
    assert pooled.isfinite().all()
    assert torch.equal(pooled[3:], pooler(levels, rois[3:]))
