"""The definition of non-maximum suppression against torchvision's."""

import pytest
import torch

from centernet2.ops.nms import greedy_nms
from tests.helpers.boxes import crowd, kept


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.6, 0.7, 0.9])
@pytest.mark.parametrize(("count", "classes"), [(1, 1), (255, 1), (900, 1), (900, 7)])
def test_tensor_operations_equal_torchvision(count: int, classes: int, threshold: float) -> None:
    boxes, scores, labels = crowd(count, classes=classes, ties=True)
    assert torch.equal(greedy_nms(boxes, labels, threshold), kept(boxes, scores, labels, threshold))


def test_chain_of_boxes_keeps_every_second() -> None:
    low = torch.arange(600.0)[:, None] * torch.tensor([4.0, 0.0])
    boxes = torch.cat([low, low + 10], dim=1)  # neighbors overlap by 3 / 7, others less
    assert greedy_nms(boxes, None, 0.4).tolist() == [i % 2 == 0 for i in range(600)]
